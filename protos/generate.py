"""Regenerate the Python code of every .proto, or check that what is in the tree is what would be generated.

python -m protos.generate [--check]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos" / "consilium"
SOURCES = sorted(p.relative_to(ROOT).as_posix() for p in PROTOS.rglob("*.proto"))
SERVICES = [s for s in SOURCES if s.endswith("/services.proto")]


def generate(out: Path) -> None:
    _protoc(f"--python_out={out}", f"--pyi_out={out}", *SOURCES)
    _protoc(f"--grpc_python_out={out}", *SERVICES)


def _protoc(*arguments: str) -> None:
    from grpc_tools import protoc

    if protoc.main(["protoc", f"-I{ROOT}", *arguments]) != 0:
        raise SystemExit("protoc failed")


def stale() -> list[str]:
    """Generated files that differ from their source or have none any more, as paths below the root."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        generate(out)
        fresh = {p.relative_to(out) for p in out.rglob("*_pb2*.py*")}
        kept = {p.relative_to(ROOT) for p in PROTOS.rglob("*_pb2*.py*") if "__pycache__" not in p.parts}
        differ = {p for p in fresh & kept if (ROOT / p).read_bytes() != (out / p).read_bytes()}
        return sorted(str(p) for p in differ | (fresh ^ kept))


if __name__ == "__main__":
    if "--check" in sys.argv:
        if found := stale():
            raise SystemExit(f"stale generated code: {', '.join(found)}; run python -m protos.generate")
    else:
        generate(ROOT)
