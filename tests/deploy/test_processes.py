"""Real processes from kits: coordinator, hospitals, people at the command line."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from consent_contracts.chain import Chain
from consilium_errors import Misuse, Refused
from coordinator.client import Consilium, Phase, Result, StudyHandle
from crypto import keyfiles
from crypto.identity import AgentKey
from deploy import agents
from deploy.hospital import Home
from deploy.kit import HospitalKit
from tests.deploy.trial import FIRST_HOSPITAL, Trial, address

pytestmark = [pytest.mark.slow, pytest.mark.chain]

Make = Callable[..., Trial]


@pytest.fixture
def make(home: Path, chain_url: str) -> Iterator[Make]:
    made: list[Trial] = []

    def trial(**how: str) -> Trial:
        made.append(Trial(home, chain_url, **how))  # type: ignore[arg-type]
        return made[-1]

    yield trial
    for each in made:
        each.close()


def check_result(trial: Trial, result: Result) -> None:
    """Against numpy on the pooled tables."""
    tables = [
        np.loadtxt(trial.kit(s) / "table.csv", delimiter=",", skiprows=1, usecols=(1, 2)) for s in trial.sites
    ]
    pooled = np.concatenate(tables)
    found = result.content["m0"]
    assert found["n"] == len(pooled)
    for i, name in enumerate(("age", "bmi")):
        assert found["columns"][name]["mean"] == pytest.approx(pooled[:, i].mean(), rel=1e-9)
        assert found["columns"][name]["variance"] == pytest.approx(pooled[:, i].var(ddof=1), rel=1e-9)
    assert set(result.approvals) == {trial.made.organisations[s] for s in trial.sites}


def finish(trial: Trial, study: StudyHandle) -> Result:
    trial.wait(lambda: study.get().phase is Phase.FINISHED, 150.0)
    trial.wait(lambda: study.get().releases == len(trial.sites))
    return study.result()


def test_a_study_runs_from_kits_though_a_hospital_is_killed(make: Make) -> None:
    trial = make()
    trial.serve_all()
    with Consilium.from_kit(trial.kit("sponsor")) as sponsor:
        study = sponsor.submit(trial.spec())
        study.start()
        trial.wait(lambda: study.get().phase is Phase.RUNNING)
        assert trial.stop("h02", signal.SIGKILL) == -signal.SIGKILL
        trial.serve("h02")
        check_result(trial, finish(trial, study))
    assert (
        "tiny: 1 exact releases" in trial.run("participant", "ledger", "--kit", str(trial.kit("h01"))).stdout
    )
    status = trial.run("coordinator", "status", "--kit", str(trial.kit("hub"))).stdout
    assert "serving: ok" in status
    assert "finished" in status
    ready = trial.ready("h01")
    assert ready is not None
    there = f"http://127.0.0.1:{ready['ops_port']}"
    assert requests.get(f"{there}/health", timeout=5).json()["status"] == "ok"
    assert "consilium_turns_total" in requests.get(f"{there}/metrics", timeout=5).text
    again = trial.run("participant", "rotate-agent", "--kit", str(trial.kit("h01")), check=False)
    assert "participant.running" in again.stderr
    for name in ("hub", *trial.sites):
        assert trial.stop(name) == 0
        check_log(trial, name)


def check_log(trial: Trial, name: str) -> None:
    """JSON lines, in which none of the kit's secrets and no patient's value stands."""
    text = trial.log(name)
    for line in text.splitlines():
        json.loads(line)
    secrets = [
        path.read_bytes().hex() for path in trial.kit(name).rglob("*.key") if path.stat().st_size == 32
    ]
    values = (trial.kit(name) / "table.csv").read_text().split() if name in trial.sites else []
    for secret in [*secrets, *(value.split(",")[1] for value in values[1:])]:
        assert secret not in text


def test_over_flower_with_people_who_decide(make: Make) -> None:
    trial = make(transport="flower", approve="manual")
    trial.serve_all()
    with Consilium.from_kit(trial.kit("sponsor")) as sponsor:
        study = sponsor.submit(trial.spec())
        study.start()
        kits = {site: str(trial.kit(site)) for site in trial.sites}
        for kit in kits.values():
            trial.wait(lambda kit=kit: "waiting" in trial.run("participant", "review", "--kit", kit).stdout)  # type: ignore[misc]
        page = trial.run("participant", "review", "tiny", "--kit", kits["h01"]).stdout
        assert "age (number in a) from AGE" in page
        assert "of 40 rows here 40 are used" in page
        assert "1 exact release" in page
        assert "your rules allow it" in page
        assert study.get().phase is Phase.AWAITING
        for kit in kits.values():
            trial.run("participant", "approve", "tiny", "--kit", kit)
        check_result(trial, finish(trial, study))
        # A change of mind: the consent is gone from the chain.
        assert "consent revoked" in trial.run("participant", "refuse", "tiny", "--kit", kits["h03"]).stdout
    for name in ("hub", *trial.sites):
        assert trial.stop(name) == 0, trial.log(name)


def test_the_agents_key_is_replaced_on_the_chain_first(make: Make) -> None:
    trial = make()
    kit = HospitalKit.load(trial.kit("h01"))
    with Home(kit) as home:
        chain = home.chain()
        with pytest.raises(Refused, match="does not know") as caught:
            agents.check_delegated(home, chain)
        assert caught.value.code == "agent.not_delegated"
        assert agents.delegate(home, chain)
        assert not agents.delegate(home, chain)
        old = home.agent().address
        # A rotation that was killed after the key was made goes on with that key.
        following = AgentKey.load_or_create(kit.below("agent.key.next")).address
        assert agents.rotate(home, chain) == following
        assert agents.delegated(chain, home.org) == following != old
        assert home.agent().address == following
        assert AgentKey.from_bytes(keyfiles.load(kit.below("agent.key.old"))).address == old
        with home.alone(), pytest.raises(Misuse, match="served already"):
            agents.rotate(home, chain)


def test_a_strange_stewards_key_sends_nothing(make: Make) -> None:
    trial = make()
    with (
        Home(HospitalKit.load(trial.kit("h01")), account=trial.kit("h02") / "account.key") as home,
        pytest.raises(Misuse) as caught,
    ):
        home.steward()
    assert caught.value.code == "account.foreign"
    with Home(HospitalKit.load(trial.kit("h01")), account=home.kit.below("nothing.key")) as home:
        with pytest.raises(Misuse) as caught:
            home.steward()
        assert caught.value.code == "account.missing"
        assert isinstance(home.chain(), Chain)
        assert home.org == address(FIRST_HOSPITAL)
