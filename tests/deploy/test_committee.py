"""Three members as real processes from kits, one of which is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.client import Consilium, Phase
from tests.deploy.test_processes import check_result, finish
from tests.deploy.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.chain, pytest.mark.nightly]

MEMBERS = ("m1", "m2", "m3")


@pytest.fixture
def trial(home: Path, chain_url: str, request: pytest.FixtureRequest) -> Iterator[Trial]:
    made = Trial(home, chain_url, transport=request.param, members=MEMBERS)
    yield made
    made.close()


@pytest.mark.parametrize("trial", ["file", "flower"], indirect=True)
def test_a_shared_study_runs_from_kits_though_a_member_is_killed(trial: Trial) -> None:
    said = [trial.run("committee", "init", "--kit", str(trial.kit(name))).stdout for name in MEMBERS]
    trial.serve_all()
    with Consilium.from_kit(trial.kit("sponsor")) as sponsor:
        study = sponsor.submit(trial.spec(committee="\n".join(said)))
        study.start()
        trial.wait(lambda: study.get().phase is Phase.RUNNING)
        assert trial.stop("m2", signal.SIGKILL) == -signal.SIGKILL
        trial.serve("m2")
        check_result(trial, finish(trial, study))
    health = trial.run("committee", "health", "--kit", str(trial.kit("m1")), check=False)
    assert health.stdout.strip() == "ok"
    for name in MEMBERS:
        assert trial.stop(name) == 0, trial.log(name)
    for name in MEMBERS:
        secrets = [p.read_bytes().hex() for p in trial.kit(name).rglob("*.key") if p.stat().st_size == 32]
        assert not [secret for secret in secrets if secret in trial.log(name)]
