"""SIGKILL of every process of a federation over Flower, at every step of a round: nothing is lost or done twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from coordinator.client import Consilium, Phase, StudyHandle
from tests.deploy.killing import STEPS, Kill, Killer, Upstream, check_chain
from tests.deploy.test_processes import check_result
from tests.deploy.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.chain, pytest.mark.timeout(1500)]

PROCESSES = ("hub", "superlink", "h02", "node:h03", "rpc", "chain")
OFTEN = (
    Kill(1, "begun", "node:h01"),
    Kill(1, "hellos", "superlink"),
    Kill(1, "plan", "h02"),
    Kill(1, "lock", "hub"),
    Kill(1, "locked", "h03", 1.0),
    Kill(1, "sum", "node:h02"),
    Kill(1, "sealed", "hub"),
    Kill(1, "attest", "superlink"),
    Kill(2, "hellos", "hub", 1.0),
    Kill(2, "plan", "chain", 3.0),
    Kill(2, "locked", "rpc", 2.0),
    Kill(2, "sum", "h01"),
    Kill(2, "attest", "hub"),
)


@pytest.fixture
def trial(home: Path) -> Iterator[tuple[Trial, Upstream]]:
    upstream = Upstream(home)
    made: Trial | None = None
    try:
        made = Trial(home, upstream.url, transport="flower")
        yield made, upstream
    finally:
        if made is not None:
            made.close()
        upstream.close()


def run(trial: Trial, upstream: Upstream, plan: Sequence[Kill], rounds: int, timeout_s: float) -> None:
    """A study under fire, and another one at the same time that has to come through as well."""
    trial.serve_all()
    with Consilium.from_kit(trial.kit("sponsor")) as sponsor:
        study = sponsor.submit(trial.spec("fire", rounds))
        beside = sponsor.submit(trial.spec("beside", 1))
        study.start()
        beside.start()
        killer = Killer(trial, upstream, study.id, plan)
        killer.follow(lambda: _over(trial, study) and _over(trial, beside), timeout_s)
        assert killer.left == []
        for handle, count in ((study, rounds), (beside, 1)):
            check_result(trial, handle.result())
            check_chain(trial, handle.id, count)


def _over(trial: Trial, study: StudyHandle) -> bool:
    """Finished with every hospital's release; the coordinator may be away while it is asked."""
    from consilium_errors import Unavailable

    try:
        state = study.get()
    except Unavailable:
        return False
    return state.phase is Phase.FINISHED and state.releases == len(trial.sites)


def test_every_step_of_a_round_under_fire(trial: tuple[Trial, Upstream]) -> None:
    run(*trial, OFTEN, rounds=2, timeout_s=900)


@pytest.mark.nightly
def test_every_process_at_every_step(trial: tuple[Trial, Upstream]) -> None:
    plan = [Kill(1 + PROCESSES.index(p), step, p) for p, step in product(PROCESSES, STEPS)]
    run(*trial, plan, rounds=len(PROCESSES), timeout_s=1400)


@pytest.mark.nightly
@pytest.mark.parametrize("victim", ["hub", "h02", "chain", "rpc"])
def test_two_minutes_away(trial: tuple[Trial, Upstream], victim: str) -> None:
    run(*trial, [Kill(1, "plan", victim, 120.0)], rounds=1, timeout_s=1000)
