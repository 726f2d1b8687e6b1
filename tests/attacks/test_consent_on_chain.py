"""Consent taken back at every step of a round, over the real contracts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from analytics.study import StudySpec
from consent_contracts.chain import Chain
from consent_contracts.proxy import Proxy
from participants.hospital import Hospital
from tests.attacks.rogue import Attempt
from tests.attacks.table import Ring, Rogue
from tests.conftest import tiny_spec
from tests.consent.nodes import LyingProxy

pytestmark = [pytest.mark.slow, pytest.mark.chain]


def play(ring: Ring, spec: StudySpec, study: bytes, rounds: int = 1) -> None:
    ring.council.wait(lambda: ring.attested(study) >= rounds, 60)
    ring.council.settle()


def members(ring: Ring, study: bytes, number: int = 1) -> str:
    """Whose signatures the seal of a round carries."""
    store = ring.council.coordinator.store
    orgs = store.get(study.hex(), f"members-{number}") or b""
    return "".join(n for n in "abcd" if ring.org(n) in [orgs[i : i + 20] for i in range(0, len(orgs), 20)])


@pytest.mark.parametrize(
    ("kind", "read"),
    [("task", "abc"), ("hellos", "abc"), ("plan", "abcd")],
)
def test_revoked_before_ones_next_word(ring: Ring, kind: str, read: str) -> None:
    """The hospital itself refuses, before it reads; the others go on."""
    spec = tiny_spec(f"before-{kind}")
    study = ring.register(spec)
    before = len(ring.codes("d"))
    ring.on_letter("d", kind, lambda: ring.revoke("d", spec, study))
    play(ring, spec, study)
    assert (kind, "consent.not_live") in ring.codes("d")[before:]
    assert members(ring, study) == "abc"
    assert ring.reads.of(spec) == read


def test_revoked_between_upload_and_lock(ring: Ring) -> None:
    """The contract refuses the set; nothing of it can be opened; the study goes on with three throughout."""
    spec = tiny_spec("before-lock", rounds=2)
    study = ring.register(spec)
    ring.refused.clear()
    ring.on_lock(lambda: ring.revoke("d", spec, study))
    play(ring, spec, study, 2)
    assert ring.refused[0] == "chain.no_live_consent"
    assert (members(ring, study, 1), members(ring, study, 2)) == ("abc", "abc")
    assert ring.reads.of(spec) == "aabbccd"  # a, b and c for each round; d once, in vain
    # d took no part; as one of the roster it catches up, and confirms what the three sealed.
    assert set(ring.council.run(study, 4).approvals) == {ring.org(name) for name in "abcd"}


def test_revoked_after_the_lock_binds_from_the_next_round(ring: Ring) -> None:
    spec = tiny_spec("after-lock", rounds=2)
    study = ring.register(spec)
    ring.on_lock(lambda: ring.revoke("d", spec, study), after=True)
    play(ring, spec, study, 2)
    assert (members(ring, study, 1), members(ring, study, 2)) == ("abcd", "abc")
    assert ring.reads.of(spec) == "aabbccd"


def test_revoked_in_a_set_that_is_fixed_halts_the_analysis_openly(ring: Ring) -> None:
    """A coordinator that asks again without it meets the others' own record and the contract."""
    spec = tiny_spec("fixed")
    study = ring.register(spec)
    room = Rogue(ring, spec, study)
    Attempt(room, room.ctx(), "m0", room.orgs).greet().gather().load().lock().open()
    ring.revoke("d", spec, study)
    smaller = Attempt(room, room.ctx(attempt=2), "m0", tuple(ring.org(n) for n in "abc")).greet().gather()
    before = len(ring.codes("a"))
    [(kind, _)] = room.hand(ring.org("a"), "plan", smaller.plan_for(ring.org("a")).SerializeToString())
    assert kind == "refusal"
    assert ring.codes("a")[before:] == [("plan", "set.changed")]


# nodes that lie ---------------------------------------------------------------------------------------------


def lying(ring: Ring, hospital: Hospital, lie: Callable[..., object]) -> tuple[Chain, list[Proxy]]:
    honest = Proxy(ring.council.rpc_url).__enter__()
    liar = LyingProxy(ring.council.rpc_url, lie).__enter__()
    return Chain([honest.url, liar.url], hospital.chain.addresses), [honest, liar]


class Frozen:
    """Answers every call as it did before, once told to: yesterday's truth, word for word."""

    def __init__(self) -> None:
        self.known: dict[str, object] = {}
        self.lies = False

    def __call__(self, method: str, params: list[object], result: object) -> object:
        if method != "eth_call":
            return result
        asked = str(params[0])
        if self.lies:
            return self.known.get(asked, result)
        self.known[asked] = result
        return result


def test_one_lying_node_keeps_the_hospital_from_its_data(ring: Ring) -> None:
    """Consent is revoked; one of the hospital's two nodes still says that it is live."""
    spec = tiny_spec("lying")
    study = ring.register(spec)
    hospital, frozen = ring.seat("d").hospital, Frozen()
    chain, proxies = lying(ring, hospital, frozen)
    honest_chain, hospital.chain = hospital.chain, chain
    try:
        view = hospital._view(study, hospital.study(study))  # both tell the truth, and the liar remembers
        assert view.gates[0].status == 0
        frozen.lies = True
        ring.council.revoke(ring.seat("d"), spec, study)
        coordinator = ring.council.coordinator.chain
        ring.until(lambda: coordinator.snapshot().gate(study, [view.gates[0].dataset])[0].status != 0)
        ring.until(lambda: _silent(ring, hospital))
        assert ring.mailbox.fetch(hospital.identity.org)  # the letter waits; nothing was said
        assert "d" not in ring.reads.of(spec)
    finally:
        hospital.chain = honest_chain
        for proxy in proxies:
            proxy.__exit__(None, None, None)
        chain.close()
    play(ring, spec, study)  # with an honest node it refuses, and the others go on
    assert ("task", "consent.not_live") in ring.codes("d")
    assert ring.reads.of(spec) == "abc"


def _silent(ring: Ring, hospital: Hospital) -> bool:
    ring.council.coordinator.tick()
    hospital.tick()
    return bool(ring.mailbox.fetch(hospital.identity.org))


@pytest.mark.parametrize("what", ["chain id", "code"])
def test_a_node_of_another_chain_or_with_other_contracts(ring: Ring, what: str) -> None:
    spec = tiny_spec(f"other-{what.replace(' ', '-')}")
    study = ring.register(spec)
    hospital = ring.seat("d").hospital

    def lie(method: str, params: list[object], result: object) -> object:
        if what == "chain id" and method == "eth_chainId":
            return "0x1"
        if what == "code" and method == "eth_getCode":
            return "0x6000"
        return result

    chain, proxies = lying(ring, hospital, lie)
    honest_chain, hospital.chain = hospital.chain, chain
    try:
        ring.until(lambda: _silent(ring, hospital))
        for _ in range(3):
            hospital.tick()  # says nothing, reads nothing, does not fall over
        assert ring.mailbox.fetch(hospital.identity.org)
        assert not ring.reads.of(spec)
    finally:
        hospital.chain = honest_chain
        for proxy in proxies:
            proxy.__exit__(None, None, None)
        chain.close()
    play(ring, spec, study)
    assert ring.reads.of(spec) == "abcd"
