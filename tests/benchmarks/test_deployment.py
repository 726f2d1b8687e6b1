"""The parts of the deployment's benchmark that take seconds."""

from __future__ import annotations

import json

import pytest

from benchmarks import deployment
from benchmarks.deployment import means


@pytest.mark.slow
def test_exchanges_of_four_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    deployment.main(["--json", "--parts", "exchange", "--rounds", "1"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["unit"]) == ("exchange_s", "s")
    assert 0 < found["value"] < 30


def test_the_trivial_study_has_as_many_rounds_as_asked_for() -> None:
    spec = means(("h01", "h02", "h03"), 4)
    assert [entry.id for entry in spec.analysis] == ["m0", "m1", "m2", "m3"]
    assert spec.sum == "fhe"


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SystemExit):
        deployment.main(["--parts", "everything"])
