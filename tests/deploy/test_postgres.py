"""A study whose coordinator and one hospital remember in PostgreSQL; both database and coordinator are killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from coordinator.client import Consilium, Phase
from tests.deploy.test_processes import check_result, finish
from tests.deploy.trial import Trial
from tests.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.chain]


def test_a_study_through_postgresql(home: Path, chain_url: str, postgres: Postgres) -> None:
    trial = Trial(home, chain_url)
    for name in ("hub", "h01"):
        path = trial.kit(name) / "consilium.toml"
        text = path.read_text()
        assert text.count("[serve]\n") == 1
        path.write_text(text.replace("[serve]\n", f'[serve]\nstore = "{postgres.database()}"\n'))
    try:
        trial.serve_all()
        with Consilium.from_kit(trial.kit("sponsor")) as sponsor:
            study = sponsor.submit(trial.spec(rounds=2))
            study.start()
            trial.wait(lambda: study.get().phase is Phase.RUNNING)
            postgres.stop(signal.SIGQUIT)  # no orderly end
            postgres.start()
            trial.stop("hub", signal.SIGKILL)
            trial.serve("hub")
            trial.wait(lambda: trial.ready("hub") is not None, 300.0)
            check_result(trial, finish(trial, study))
    finally:
        trial.close()
    assert not (trial.kit("hub") / "state" / "coordinator.db").exists()
    assert not (trial.kit("h01") / "state" / "hospital.db").exists()
