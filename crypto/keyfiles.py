"""A secret of 32 bytes in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from consilium_errors import Misuse

KEY_BYTES = 32


def load_or_create(path: Path, fresh: Callable[[], bytes]) -> bytes:
    """The key in ``path``; where there is none, ``fresh()`` is stored first (0600, parents 0700, synced).

    Two processes that create at once end with the same key. A crash leaves a whole key or none.

    Raises:
        Misuse: ``key_file.permissions`` if anyone but the owner may read or write it, ``key_file.malformed``
            if it is no plain file of 32 bytes.
    """
    try:
        return load(path)
    except FileNotFoundError:
        _create(path, fresh())
        return load(path)


def load(path: Path) -> bytes:
    """The key in ``path``.

    Raises:
        FileNotFoundError: there is none.
        Misuse: as `load_or_create`.
    """
    try:
        # O_NONBLOCK: a pipe laid in the key's place must not hang the caller.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _malformed(path) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != KEY_BYTES:
            raise _malformed(path)
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise Misuse(
                "key_file.permissions",
                f"{path} must belong to this user and be readable by nobody else",
                f"If nobody has read it: chmod 600 {path}",
            )
        key = os.read(descriptor, KEY_BYTES)
    finally:
        os.close(descriptor)
    if len(key) != KEY_BYTES:
        raise _malformed(path)
    return key


def _create(path: Path, key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise Misuse("key_file.malformed", f"a key has {KEY_BYTES} bytes")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike rename, never replaces a key that another process stored first
        except FileExistsError:
            return
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _malformed(path: Path) -> Misuse:
    return Misuse(
        "key_file.malformed",
        f"{path} is not a plain file of {KEY_BYTES} bytes",
        "Restore the key file from its backup; a new key cannot open what the old one sealed or signed.",
    )
