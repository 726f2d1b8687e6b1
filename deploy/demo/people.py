"""What people do at the command line: each command is run as they would run it, and kept for the last screen."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from consilium_children import bound
from consilium_errors import Unavailable

ROOT = Path(__file__).parents[2]
PATIENCE_S = 600.0


class People:
    """Args: ``log`` gets every command with what it said."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.commands: list[str] = []

    def run(self, *arguments: str | Path) -> str:
        """What ``consilium …`` prints.

        Raises:
            Unavailable: ``demo.command`` if it fails or takes longer than ten minutes.
        """
        text = "consilium " + shlex.join(short(argument) for argument in arguments)
        self.commands.append(text)
        try:
            done = subprocess.run(  # noqa: S603
                bound([sys.executable, "-m", "deploy", *map(str, arguments)]),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
                cwd=ROOT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except subprocess.TimeoutExpired:
            raise Unavailable("demo.command", f"no end of {text}", f"see {self._log.parent}") from None
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {text}\n{done.stdout}{done.stderr}")
        if done.returncode:
            raise Unavailable("demo.command", f"{text}\n{done.stderr.strip()}", f"see {self._log.parent}")
        return done.stdout


def short(argument: str | Path) -> str:
    """Paths below the current folder as a person would type them."""
    if isinstance(argument, Path) and argument.is_relative_to(Path.cwd()):
        return str(argument.relative_to(Path.cwd()))
    return str(argument)
