"""A study from its submission to its result, through the wire alone."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from analytics.study import StudySpec
from consent_contracts.auditor import audit
from consilium_errors import Hostile, Misuse, Refused
from coordinator.client import Accusation, Phase, Seal, StudyEvent, StudyState
from deploy.commands.screens import line
from participants.analyst import SpecAnalyst
from participants.round import Ports
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.api.stand import SITES, Stand
from tests.attacks.liars import Garbling, one_more
from tests.conftest import tiny_spec, tiny_table


def test_a_study_from_submission_to_result(stand: Stand) -> None:
    spec = stand.spec("whole", rounds=2)
    sponsor = stand.client()
    study = sponsor.submit(spec)
    assert study.get().phase is Phase.OFFERED
    assert StudySpec.from_canonical(study.get().spec) == spec
    assert study.start().phase is Phase.AWAITING
    events: list[StudyEvent] = []
    watcher = threading.Thread(target=lambda: events.extend(study.watch()), daemon=True)
    watcher.start()
    for name in SITES[:3]:
        stand.consent(study.id, spec, name)
    stand.wait(lambda: len(study.get().consents) == 3)
    assert study.get().phase is Phase.AWAITING  # the fourth is asked too
    stand.consent(study.id, spec, SITES[3])
    stand.wait(lambda: study.get().phase is Phase.FINISHED)
    watcher.join(10)
    assert not watcher.is_alive()

    seals = [e for e in events if isinstance(e, Seal)]
    assert [(s.number, s.analysis) for s in seals] == [(1, "m0"), (2, "m1")]
    assert tuple(seals) == sponsor.seals(study.id)
    last = events[-1]
    assert isinstance(last, StudyState)
    assert last.phase is Phase.FINISHED

    stand.wait(lambda: study.get().releases == len(SITES))
    result = study.result()
    assert len(result.approvals) == 4
    assert result.seal_ids == tuple(s.seal_id for s in seals)
    pooled = np.concatenate([tiny_table(i)(spec).numbers["age"] for i in range(len(SITES))])
    assert result.content["m0"]["columns"]["age"]["mean"] == pytest.approx(pooled.mean(), abs=1e-9)

    bundle = sponsor.bundle(study.id)
    verdict = audit(stand.council.rpc_url, stand.council.addresses, bundle=bundle, study=study.id)
    verdict.verify()
    assert verdict.seals == 2
    theirs = stand.client("regulator").verdict(study.id)
    assert not theirs.failed
    assert (theirs.seals, theirs.signatures) == (verdict.seals, verdict.signatures)


def test_a_garbled_sum_and_whoever_is_accused_are_seen(stand: Stand) -> None:
    """The study ends right, and says that a sum did not open; names are told as the sites are called."""
    spec = stand.spec("garbled", sum_="fhe")
    liar = stand.seat("d").hospital
    honest = liar._ports

    def garbled(name: str, analyst: SpecAnalyst) -> Ports:
        made = honest(name, analyst)
        if analyst.spec.id != spec.id:
            return made
        return replace(made, scheme=Garbling(made.scheme, one_more))  # type: ignore[arg-type]

    liar._ports = garbled
    study = stand.client().submit(spec)
    study.start()
    for name in SITES:
        stand.consent(study.id, spec, name)
    stand.wait(lambda: study.get().phase is Phase.FINISHED)
    state = study.get()
    orgs = {name: stand.seat(name).desk.org for name in SITES}
    assert state.accused == (Accusation(1, "sum.unopened", (), tuple(sorted(orgs.values()))),)
    names = {org: name for name, org in orgs.items()}
    assert "round 1: sum.unopened, nobody named, by 4" in line(state, names.__getitem__).plain
    pair = Accusation(2, "checked.pair", tuple(sorted((orgs["a"], orgs["c"]))), tuple(orgs.values()))
    shown = line(replace(state, accused=(pair,)), names.__getitem__).plain
    assert "round 2: checked.pair, a or c, by 4" in shown or "checked.pair, c or a, by 4" in shown


def test_a_submission_may_be_repeated(stand: Stand) -> None:
    spec, sponsor = stand.spec("twice"), stand.client()
    first, second = sponsor.submit(spec), sponsor.submit(spec)
    assert first.id == second.id
    assert [s.id for s in sponsor.list()].count(first.id) == 1


@pytest.mark.slow
def test_a_study_may_begin_with_fewer_than_all(stand: Stand) -> None:
    spec, sponsor = stand.spec("three"), stand.client()
    study = sponsor.submit(spec)
    study.start(at_least=3)
    for name in SITES[:3]:
        stand.consent(study.id, spec, name)
    stand.wait(lambda: study.get().phase is Phase.FINISHED)
    assert len(sponsor.seals(study.id)[0].members) == 3


def test_too_few_to_begin_with_is_refused(stand: Stand) -> None:
    study = stand.client().submit(stand.spec("few"))
    with pytest.raises(Misuse) as caught:
        study.start(at_least=2)
    assert caught.value.code == "study.at_least"
    assert caught.value.remedy


def test_cancelled_is_cancelled(stand: Stand) -> None:
    spec, sponsor = stand.spec("cancel"), stand.client()
    study = sponsor.submit(spec)
    study.start()
    assert study.cancel().phase is Phase.CANCELLED
    assert study.cancel().phase is Phase.CANCELLED
    with pytest.raises(Refused) as caught:
        study.start()
    assert caught.value.code == "study.cancelled"
    for name in SITES:
        stand.consent(study.id, spec, name)
    stand.tick()
    assert not stand.council.coordinator.started(study.id)
    assert [e.phase for e in study.watch() if isinstance(e, StudyState)] == [Phase.CANCELLED]


def test_a_running_study_stops_when_it_is_cancelled(stand: Stand) -> None:
    """Cancelled while hospitals are asked for their keys: their answers lead nowhere."""
    spec, sponsor = stand.spec("stop"), stand.client()
    study = sponsor.submit(spec)
    study.start()
    for name in SITES:
        stand.consent(study.id, spec, name)
    while study.get().phase is not Phase.RUNNING:
        time.sleep(0.02)  # no hospital works meanwhile
    study.cancel()
    store, scope = stand.council.coordinator.store, f"{study.id.hex()}/1/1"
    stand.wait(lambda: len(store.slots(scope, "hello-")) == len(SITES))
    until = time.monotonic() + 0.5
    stand.wait(lambda: time.monotonic() > until)
    assert store.get(scope, "hellos") is None
    assert study.get().phase is Phase.CANCELLED


def test_closing_on_the_chain_ends_a_study(stand: Stand) -> None:
    sponsor = stand.client()
    study = sponsor.submit(stand.spec("close"))
    sponsor.close_study(study.id)
    stand.wait(lambda: study.get().phase is Phase.CLOSED)


def test_a_result_before_its_time(stand: Stand) -> None:
    study = stand.client().submit(stand.spec("early"))
    with pytest.raises(Misuse) as caught:
        study.result()
    assert caught.value.code == "study.unreleased"


def test_unknown_sites_are_named_at_home(stand: Stand) -> None:
    with pytest.raises(Misuse) as caught:
        stand.client().submit(tiny_spec("strange", ("a", "b", "zz")))
    assert caught.value.code == "study.sites"
    assert "zz" in str(caught.value)


def test_pages_end(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    from coordinator.api import board

    sponsor = stand.client()
    ids = {sponsor.submit(stand.spec(f"page{i}")).id for i in range(3)}
    monkeypatch.setattr(board, "PAGE", 2)
    listed = [s.id for s in sponsor.list()]
    assert ids <= set(listed)
    assert len(listed) == len(set(listed))


def test_only_what_the_chain_pins_is_taken(stand: Stand) -> None:
    """A sponsor who registered one study and offers another under its name."""
    sponsor = stand.client()
    study = sponsor.submit(stand.spec("pinned"))
    with pytest.raises(Hostile) as caught:
        sponsor.offer(study.id, stand.spec("other"), stand.council.sponsor_key)
    assert caught.value.code == "offer.unpinned"


def test_the_bundle_is_canonical(stand: Stand) -> None:
    sponsor = stand.client()
    study = sponsor.submit(stand.spec("empty"))
    bundle = wire.parse(pb.Bundle, sponsor.bundle(study.id))
    assert not bundle.rounds
