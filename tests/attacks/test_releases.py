"""The result goes to the key that the study registered, and to no other."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from consent_contracts.signed import sign
from consilium_errors import Hostile, Refused
from coordinator.sponsor import open_releases
from crypto import envelopes
from participants.offers import check_offer
from participants.round import Step
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt

SEAL = b"\x5e" * 32


def done() -> sim.World:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock().open().finish()
    world.chain.attest(a.sealed())
    for member in world:
        member.settle()
    return world


def release(member: sim.Member, key: bytes, result: bytes = b'{"m0":{}}') -> Step:
    return member.machine.release(result, key, [SEAL], member.store, member.view())


def test_a_swapped_sponsor_key() -> None:
    world = done()
    with stopped(Hostile, "release.recipient"):
        release(world["a"], envelopes.generate()[1])


def test_no_release_before_the_end() -> None:
    world = sim.build()
    with stopped(Refused, "release.unfinished"):
        release(world["a"], sim.sponsor_keys()[1])


def test_a_release_is_made_once() -> None:
    world = done()
    a = world["a"]
    step = release(a, sim.sponsor_keys()[1])
    a.apply(step)
    again = release(a, sim.sponsor_keys()[1], b'{"m0":{"n":1}}')
    assert (again.records, again.send) == ((), step.send)


def collected(world: sim.World, results: dict[str, bytes]) -> dict[bytes, bytes]:
    found = {}
    for name, result in results.items():
        [(_, body)] = release(world[name], sim.sponsor_keys()[1], result).send
        found[world[name].org] = body
    return found


def opened(world: sim.World, releases: dict[bytes, bytes], needed: int = 3) -> object:
    secret = sim.sponsor_keys()[0]
    return open_releases(sim.STUDY, releases, secret, world.chain.agents, needed=needed).content


def test_the_sponsor_opens_equal_results_only() -> None:
    world = done()
    good = collected(world, dict.fromkeys("abc", b'{"m0":{}}'))
    assert opened(world, good) == {"m0": {}}
    with stopped(Refused, "release.too_few"):
        opened(world, good, 4)
    with stopped(Hostile, "release.differs"):
        opened(world, good | collected(world, {"d": b'{"m0":{"n":1}}'}))


def test_a_release_that_is_moved_is_not_opened() -> None:
    world = done()
    good = collected(world, dict.fromkeys("abc", b'{"m0":{}}'))
    a, b, c = (world[name].org for name in "abc")
    with stopped(Hostile, "release.study"):
        opened(world, {a: good[b], b: good[b], c: good[c]})
    moved = wire.parse(pb.Release, wire.parse(pb.Signed, good[a]).payload)
    moved.org = b
    forged = sign("release", moved, org=b, key=world["b"].agent)
    with stopped(Hostile, "envelope.open"):
        opened(world, good | {b: wire.encode(forged)})


# offers -----------------------------------------------------------------------------------------------------


def on_chain(world: sim.World) -> tuple[pb.StudyOffer, sim.StudyView]:
    from consent_contracts.claims import claims

    spec = world.spec
    purposes, satisfies, scope = claims(
        spec.purpose.duo,
        spec.purpose.modifiers,
        disease=spec.purpose.disease,
        commercial=spec.purpose.commercial,
    )
    view = replace(world.chain.study, purposes=purposes, satisfies=satisfies, scope=scope)
    offer = pb.StudyOffer(study=sim.STUDY, spec=spec.canonical(), sponsor_key=sim.sponsor_keys()[1])
    return offer, replace(view, collusion=spec.collusion, window=spec.window_s)


def test_the_offer_as_registered() -> None:
    world = sim.build()
    offer, view = on_chain(world)
    check_offer(offer, world.spec, view, world["a"].org, lambda _: sim.LIVE)
    with stopped(Refused, "offer.not_invited"):
        check_offer(offer, world.spec, view, b"\xee" * 20, lambda _: sim.LIVE)


@pytest.mark.parametrize(
    "change",
    [
        {"spec_hash": bytes(32)},
        {"sponsor_key": hashlib.sha256(b"another").digest()},
        {"mode": 2},
        {"min_sites": 4},
        {"collusion": 2},
        {"window": 61},
        {"roster": ()},
        {"analyses": (bytes(32),)},
        {"purposes": 0},
        {"satisfies": 1 << 20},
        {"scope": b"\1" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_offer_that_the_chain_knows_otherwise(change: dict[str, object]) -> None:
    world = sim.build()
    offer, view = on_chain(world)
    with stopped(Hostile, "offer.unpinned"):
        changed = replace(view, **change)  # type: ignore[arg-type]
        check_offer(offer, world.spec, changed, world["a"].org, lambda _: sim.LIVE)


def test_an_offer_with_a_swapped_sponsor_key() -> None:
    world = sim.build()
    offer, view = on_chain(world)
    offer.sponsor_key = envelopes.generate()[1]
    with stopped(Hostile, "offer.unpinned"):
        check_offer(offer, world.spec, view, world["a"].org, lambda _: sim.LIVE)
