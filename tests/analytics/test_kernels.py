"""The shared state is the same bits under other BLAS kernels and thread counts; BLAS itself is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analytics.registry import current, genesis
from analytics.study import StudySpec
from analytics.table import Table
from tests.analytics import data

KERNELS = (("Haswell", 1), ("Nehalem", 2), ("Prescott", 1), ("Haswell", 2))

REPLAY = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from threadpoolctl import threadpool_info
from analytics.layout import value_bits
from analytics.registry import advance, current, genesis, results
from analytics.study import StudySpec

folder, parties = Path(sys.argv[1]), int(sys.argv[2])
spec = StudySpec.from_canonical((folder / "spec").read_bytes())
state, digests = genesis(spec), []
with np.load(folder / "totals.npz") as totals:
    for k in range(len(totals)):
        layout = current(spec, state).layout(spec, state)
        bits = value_bits(layout.fields, parties)
        state = advance(spec, state, layout.decode(totals[f"t{k}"], parties, bits), parties)
        digests.append(hashlib.sha256(layout.params_bytes() + state.to_bytes()).hexdigest())
answer = json.dumps(results(spec, state))
H = np.random.default_rng(3).normal(size=(200, 60))
blas = np.linalg.solve(H.T @ H, np.ones(60)).tobytes()
print(json.dumps({
    "digests": digests,
    "answer": hashlib.sha256(answer.encode()).hexdigest(),
    "blas": hashlib.sha256(blas).hexdigest(),
    "kernel": [i.get("architecture") for i in threadpool_info() if i["internal_api"] == "openblas"],
}))
"""


def _replay(folder: Path, kernel: str, threads: int) -> dict[str, object]:
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OPENBLAS_CORETYPE": kernel,
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(folder), "4"], env=env, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_states_are_bit_identical_under_every_kernel(
    tmp_path: Path, breast: StudySpec, hospitals: list[Table]
) -> None:
    state, opened = genesis(breast), []
    while (analysis := current(breast, state)) is not None:
        totals, vector = data.summed(breast, state, hospitals)
        opened.append(vector)
        state = analysis.move(totals, len(hospitals), state)
    (tmp_path / "spec").write_bytes(breast.canonical())
    np.savez(tmp_path / "totals.npz", **{f"t{k}": vector for k, vector in enumerate(opened)})

    runs = [_replay(tmp_path, kernel, threads) for kernel, threads in KERNELS]
    assert all(len(run["digests"]) == len(opened) for run in runs)  # type: ignore[arg-type]
    assert len({json.dumps(run["digests"]) for run in runs}) == 1
    assert len({run["answer"] for run in runs}) == 1
    if len({json.dumps(run["kernel"]) for run in runs}) < 2:
        pytest.skip("this BLAS has one kernel only: the comparison proves nothing here")
    assert len({run["blas"] for run in runs}) > 1, (
        "the same solve by BLAS should differ, or the test cannot fail"
    )
