import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile
from crypto.secure_sum import bfv, clear
from crypto.secure_sum.wire import narrow, widen

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "count",
    [
        1_500,
        pytest.param(21_000, marks=pytest.mark.slow),
        pytest.param(600_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    ],
)
def test_mutants_are_refused_or_mean_something(count):
    seed = int.from_bytes(os.urandom(4), "little")
    run = subprocess.run(
        [sys.executable, str(HERE / "mutate.py"), str(count), str(seed)],
        cwd=HERE.parents[2],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
        capture_output=True,
        text=True,
        timeout=300 + count / 200,
    )
    assert run.returncode == 0, (seed, run.stderr[-2000:])
    assert int(run.stdout.split()[0]) >= 0.99 * count


@given(st.binary(max_size=400), st.integers(1, 40))
def test_any_bytes(data, m):
    for call in (
        lambda: bfv.parse_upload(data, m),
        lambda: bfv.check_total(data, m),
        lambda: clear.decode(data, m),
    ):
        with contextlib.suppress(Hostile):
            call()


@given(st.lists(st.integers(0, 2**56 - 1), min_size=1, max_size=30), st.sampled_from([6, 7]))
def test_widen_is_the_inverse_of_narrow(values, width):
    values = [v % (1 << 8 * width) for v in values]
    data = narrow(np.array(values, np.uint64), width)
    assert data == b"".join(v.to_bytes(width, "little") for v in values)
    view = memoryview(b"\xff" * 3 + data + b"\xff" * 3)[3:-3]
    assert widen(view, len(values), width, 1 << 8 * width).tolist() == values


@settings(max_examples=50)
@given(st.integers(1, 30), st.data())
def test_the_modulus_is_the_first_that_is_refused(count, data):
    where = data.draw(st.integers(0, count - 1))
    values = [0] * count
    for value, accepted in ((bfv.Q - 1, True), (bfv.Q, False)):
        values[where] = value
        wire = memoryview(narrow(np.array(values, np.uint64), 7))
        if accepted:
            assert widen(wire, count, 7, bfv.Q).tolist() == values
        else:
            with pytest.raises(Hostile) as e:
                widen(wire, count, 7, bfv.Q)
            assert e.value.code == "ciphertext.coefficient"


@pytest.mark.parametrize("size", [0, 1, 20, 22, 28])
def test_widen_takes_exact_lengths_only(size):
    with pytest.raises(Hostile) as e:
        widen(memoryview(bytes(size)), 3, 7, bfv.Q)
    assert e.value.code == "ciphertext.length"
