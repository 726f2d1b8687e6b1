"""A whole study over the real chain: nothing that the coordinator ever gets or keeps opens an input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from analytics.study import StudySpec
from consent_contracts.auditor import audit
from consilium_errors import Hostile, Refused
from crypto import envelopes
from crypto.kdf import derive
from crypto.secure_sum.packing import Packing
from participants import bundles
from participants.analyst import SpecAnalyst
from participants.round import Ports
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks.adversary import Adversary, Fields
from tests.attacks.expect import stopped
from tests.attacks.liars import Garbling, at_first, one_more
from tests.attacks.rogue import Attempt
from tests.attacks.table import Ring, Rogue, written
from tests.conftest import tiny_spec

pytestmark = [pytest.mark.slow, pytest.mark.chain]
Rows = list[tuple[str, str, bytes]]


@dataclass
class Whole:
    """A study from its offer to its release, with all that passed and all that was written."""

    ring: Ring
    spec: StudySpec
    study: bytes = b""
    letters: list[tuple[str, bytes]] = field(default_factory=list)
    kept: Rows = field(default_factory=list)
    disks: dict[bytes, Rows] = field(default_factory=dict)

    def adversary(self) -> Adversary:
        found = Adversary()
        for kind, body in self.letters:
            found.hear(kind, body)
        found.heard += [body for _, _, body in self.kept]
        return found

    def inputs(self, org: bytes) -> list[custody.InputRecord]:
        """What nobody may learn, one for each round."""
        return [custody.InputRecord.FromString(b) for _, slot, b in self.disks[org] if slot == "input-1"]

    def truths(self, org: bytes) -> list[Fields]:
        values = [np.frombuffer(i.values, "<u8").astype(np.uint64) for i in self.inputs(org)]
        return [Packing(len(v), len(self.disks), 1).pack(v) for v in values]


@pytest.fixture(scope="module")
def whole(ring: Ring) -> Whole:
    """Two rounds; the first sum is garbled by a hospital, and opened by the check."""
    known = Whole(ring, tiny_spec("blind", rounds=2))
    liar = ring.seat("d").hospital
    honest = liar._ports

    def garbled(name: str, analyst: SpecAnalyst) -> Ports:
        made = honest(name, analyst)
        if analyst.spec.id != known.spec.id:
            return made
        scheme = Garbling(made.scheme, at_first(one_more))
        return replace(made, scheme=scheme)  # type: ignore[arg-type]

    liar._ports = garbled

    def ear(to: bytes, mail: pb.Mail) -> None:
        known.letters.append((mail.kind, bytes(mail.body)))

    ring.mailbox.ears.append(ear)
    known.kept = written(ring.council.coordinator.store)
    for name in known.spec.sites:
        known.disks[ring.org(name)] = written(ring.seat(name).hospital.store)
    known.study = ring.register(known.spec)
    ring.council.run(known.study, 4)
    ring.mailbox.ears.remove(ear)
    return known


def reads(adversary: Adversary, victim: bytes, truths: list[Fields]) -> bool:
    return any(np.array_equal(guess, t) for guess in adversary.candidates(victim) for t in truths)


def test_the_study_really_ran(whole: Whole) -> None:
    kinds = {kind for kind, _ in whole.letters}
    assert {"offer", "task", "hellos", "plan", "locked", "sum", "attested", "release", "seal"} <= kinds
    assert {"dispute", "check", "checked", "checked-all", "verdict"} <= kinds
    assert all(len(whole.truths(org)) == 2 for org in whole.disks)
    [found] = whole.ring.council.coordinator.status(whole.study).accused
    assert (found.round, found.code, found.orgs) == (1, "sum.unopened", ())
    assert set(found.by) == set(whole.disks)


def test_a_study_of_which_a_check_opened_a_round_passes_the_audit(whole: Whole, quick_chain: str) -> None:
    council = whole.ring.council
    for name in whole.spec.sites:
        store, spec = whole.ring.seat(name).hospital.store, whole.spec.canonical()
        sealed = bundles.bundle(store, whole.study, spec, envelopes.public_of(council.regulator_secret))
        verdict = audit(quick_chain, council.addresses, bundle=sealed, regulator_key=council.regulator_secret)
        assert not verdict.failed, verdict.failed
        assert verdict.openings == 2


def test_no_secret_of_a_hospital_ever_passes(whole: Whole) -> None:
    passed = b"\0".join([body for _, body in whole.letters] + [body for _, _, body in whole.kept])
    secrets = 0
    for rows in whole.disks.values():
        for secret in secrets_of(rows):
            secrets += 1
            assert secret not in passed
    assert secrets > 100


def secrets_of(rows: Rows) -> Iterator[bytes]:
    """All that is on a hospital's disk and must not be anywhere else, with the keys made of it."""
    for _, slot, body in rows:
        match slot.split("-")[0]:
            case "hello":
                yield custody.HelloRecord.FromString(body).hpke_secret
            case "input":
                record = custody.InputRecord.FromString(body)
                yield from (record.values, record.randomness)
            case "ready":
                ready = custody.ReadyRecord.FromString(body)
                yield from (ready.g, ready.self_mask, *(pair.secret for pair in ready.pairs))
            case "upload":
                upload = custody.UploadRecord.FromString(body)
                yield from (upload.group, derive("bfv", upload.group), derive("salt", upload.group))
                yield from (pair.secret for pair in upload.pairs)
            case "seal":
                seal = custody.SealRecord.FromString(body)
                yield from (seal.state, seal.salt, seal.sum, seal.randomness)


def test_the_coordinator_alone(whole: Whole) -> None:
    """It derives nothing; and every 32 bytes it ever saw, tried as a key, open nothing."""
    adversary = whole.adversary()
    victim = min(whole.disks)
    assert not reads(adversary, victim, whole.truths(victim))
    assert not any(seen.group for seen in adversary.attempts.values())
    truths = whole.truths(victim)
    tried = 0
    for guess in adversary.guesses(victim):
        tried += 1
        assert not any(np.any(guess == t) for t in truths)
    assert tried > 100


def test_no_opening_of_a_check_is_the_coordinators_to_read(whole: Whole) -> None:
    """Every 32 bytes that it ever saw, as the key or as the group's secret, open none; the group's secret does."""
    shown = [wire.parse(pb.Signed, body) for kind, body in whole.letters if kind == "checked"]
    assert {signed.sender for signed in shown} == set(whole.disks)
    words = whole.adversary().words()
    assert len(words) > 50
    groups = {
        custody.UploadRecord.FromString(b).group
        for _, slot, b in whole.disks[min(whole.disks)]
        if slot == "upload"
    }

    def opens(words: set[bytes], checked: pb.Checked) -> int:
        count = 0
        for word in words:
            for key in (word, derive("checked", word, checked.org, checked.lock_id)):
                with suppress(Hostile):
                    envelopes.open_once(key, checked.lock_id, checked.sealed)
                    count += 1
        return count

    for signed in shown:
        checked = wire.parse(pb.Checked, signed.payload)
        assert opens(words, checked) == 0
        assert opens(groups, checked) == 1


def test_the_guessing_would_find_a_key_that_passed(whole: Whole) -> None:
    """The same loop, once the group's secret and the masks' sum are among what was heard."""
    adversary = whole.adversary()
    victim = min(whole.disks)
    upload = next(
        custody.UploadRecord.FromString(b) for _, slot, b in whole.disks[victim] if slot == "upload"
    )
    adversary.heard.append(wire.encode(pb.Hellos(ctx_hash=upload.group)))
    for org, rows in whole.disks.items():
        adversary.rob(org, rows)
    adversary.derive_all()
    seen = adversary.by_plan[upload.plan_hash]
    opened = adversary._open(seen, [seen.uploads[victim]])
    assert any(np.array_equal(guess, opened) for guess in adversary.guesses(victim))


@pytest.mark.parametrize("count", [1, 2])
def test_with_the_help_of_hospitals(whole: Whole, count: int) -> None:
    victim, *helpers = sorted(whole.disks)
    adversary = whole.adversary()
    for helper in helpers[:count]:
        adversary.rob(helper, whole.disks[helper])
    assert not reads(adversary, victim, whole.truths(victim))
    assert all(seen.group for seen in adversary.attempts.values())  # it had the group's key


def test_the_same_harness_succeeds_with_every_key(whole: Whole) -> None:
    victim, *helpers = sorted(whole.disks)
    adversary = whole.adversary()
    for helper in helpers:
        adversary.rob(helper, whole.disks[helper])
    truths = whole.truths(victim)
    found = [t for t in truths if any(np.array_equal(g, t) for g in adversary.candidates(victim))]
    assert len(found) == len(truths) == 2


def test_after_the_seal_the_secrets_are_gone_from_the_disk(whole: Whole) -> None:
    for name in whole.spec.sites:
        store = whole.ring.seat(name).hospital.store
        for number in (1, 2):
            assert not store.slots(f"{whole.study.hex()}/{number}", "")
    assert not whole.ring.council.coordinator.store.slots(f"{whole.study.hex()}/1", "")


# the two-set attack over the real chain ---------------------------------------------------------------------


def test_the_contract_refuses_a_second_set_and_the_difference_stays_closed(whole: Whole) -> None:
    ring, spec = whole.ring, tiny_spec("twosets")
    study = ring.register(spec)
    room, adversary = Rogue(ring, spec, study), Adversary()
    room.ears.append(adversary.hear)
    disks = {ring.org(n): written(ring.seat(n).hospital.store) for n in spec.sites}
    victim, helper = room.orgs[-1], room.orgs[0]
    big = Attempt(room, room.ctx(attempt=1), "m0", room.orgs).greet().gather().load()
    small = Attempt(room, room.ctx(attempt=2), "m0", room.orgs[:3]).greet().gather().load()
    small.lock().open().finish()
    call = big.lock_call()
    with stopped(Refused, "chain.bad_release"):
        room.lock(call)
    for release, code in ((1, "chain.bad_release"), (2, "chain.set_fixed")):
        with stopped(Refused, code):
            room.lock(replace(call, ctx=replace(call.ctx, attempt=3, release=release)))
    for org in room.orgs[:3]:  # the lie about a lock meets the hospitals' own view of the chain
        assert room.hand(org, "locked", wire.encode(big.locked())) == []
    adversary.rob(helper, disks[helper])
    values = next(custody.InputRecord.FromString(b).values for _, s, b in disks[victim] if s == "input-1")
    truth = Packing(len(values) // 8, 4, 1).pack(np.frombuffer(values, "<u8").astype(np.uint64))
    assert not reads(adversary, victim, [truth])
    seen = adversary.attempts[big.ctx.digest()]
    for org, rows in disks.items():
        for scope, slot, body in rows:
            if slot == "ready" and scope.endswith(big.ctx.digest().hex()):
                seen.self_masks[org] = custody.ReadyRecord.FromString(body).self_mask
    assert reads(adversary, victim, [truth])
