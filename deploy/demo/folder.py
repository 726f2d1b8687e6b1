"""The demo's folder: made, or emptied of what a demo before has written; never of anything else."""

from __future__ import annotations

import shutil
from pathlib import Path

from consilium_errors import Misuse
from deploy.provision import files

MARK = ".consilium-demo"


def prepared(path: Path) -> Path:
    """``path``, 0700 and empty but for the mark.

    Raises:
        Misuse: ``demo.folder`` if it holds what no demo has written; ``kit.folder``.
    """
    path = path.resolve()
    if path.is_dir() and any(path.iterdir()):
        if not (path / MARK).is_file():
            raise Misuse(
                "demo.folder", f"{path} is not empty and not a demo's", "name another folder with --out"
            )
        for each in path.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each.name != MARK:
                each.unlink()
    files.folder(path)
    (path / MARK).touch()
    return path
