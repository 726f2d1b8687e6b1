"""Files of a kit: 0600 in folders 0700, replaced whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from consilium_errors import Misuse, Unavailable


def folder(path: Path) -> Path:
    """Raises Misuse ``kit.folder`` if others may read it, or it cannot be made."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise Misuse("kit.folder", f"{path}: {error.strerror}", "name a folder that can be written") from None
    if mode & 0o077:
        raise Misuse("kit.folder", f"{path} is open to others", f"chmod 700 {path}")
    return path


def write(path: Path, content: bytes | str) -> None:
    """Raises Unavailable ``disk.write``."""
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(
            "disk.write", f"cannot write {path}: {error.strerror}", "free space, or mend rights"
        ) from None


def write_new(path: Path, content: bytes) -> None:
    """Write unless it is there: a key is never replaced by chance."""
    if not path.exists():
        write(path, content)
