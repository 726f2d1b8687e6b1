"""A coordinator, a member or a hospital against a round that a committee computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from consilium_errors import Error, Hostile, Refused, Unavailable
from crypto import envelopes
from crypto.mpc import sharing
from participants.committee.job import Bench
from participants.committee.member import Committee
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import MemoryMailbox
from tests.attacks import sim
from tests.attacks.committee import Member, inputs, locked_round, member_keys, outputs, without


def said(world: sim.World, body: bytes, kind: str = "outputs") -> dict[str, str]:
    """Hospital → what it answers: the kind of its message, or the code of its refusal."""
    found = {}
    for member in world:
        try:
            found[member.name] = member.handle(kind, body)[-1][0]
        except Error as error:
            found[member.name] = error.code
    return found


def told_of_lock(world: sim.World, attempt) -> None:
    for member in world:
        assert member.handle("locked", wire.encode(attempt.locked())) == []  # nothing is unlocked


def code_of(do) -> str:
    with pytest.raises(Error) as e:
        do()
    return e.value.code


# hospitals ---------------------------------------------------------------------------------------------


def test_an_honest_committee_ends_in_seals_and_the_sum_is_the_sum():
    world, attempt = locked_round()
    told_of_lock(world, attempt)
    assert said(world, wire.encode(outputs(world, attempt))) == dict.fromkeys("abcd", "seal")
    member = world["a"]
    scope = member.machine._desk(member.store, member.view()).attempt_scope(attempt.ctx.digest())
    record = pb.SealShare  # the sum is in the hospital's own record
    del record
    from protos.consilium.v1 import custody_pb2 as custody

    sealed = custody.SealRecord.FromString(member.store.get(scope, "seal") or b"")
    state = world.held(0).state
    expected = sum(m.machine.ports.analyst.contribute(state).values for m in world)
    assert np.array_equal(np.frombuffer(sealed.sum, "<u8"), expected)
    assert sealed.accepted == b"\1\1\1\1"


def changed(index: int, by: int):
    def change(share: np.ndarray, r: int) -> tuple[np.ndarray, int]:
        share = share.copy()
        share[index] += np.uint64(by)
        return share, r

    return change


LIES = {
    "a value": changed(0, 1),
    "a value by 2^44": changed(2, 1 << 44),
    "the last value": changed(-1, 5),
    "the randomness": lambda share, r: (share, r + 1),
    "everything": lambda share, r: (np.zeros_like(share), 0),
    "fewer values": lambda share, r: (share[:-1], r),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("liar", [0, 2])
def test_one_member_that_lies_is_found_out_and_nothing_is_sealed(lie, liar):
    world, attempt = locked_round("abc")
    told_of_lock(world, attempt)
    body = wire.encode(outputs(world, attempt, LIES[lie], liar=liar))
    assert said(world, body) == dict.fromkeys("abc", "dispute")


def test_outputs_of_two_runs_or_of_two_sets_do_not_mix():
    world, attempt = locked_round()
    told_of_lock(world, attempt)
    first, second = outputs(world, attempt), outputs(world, attempt, run=b"\1" * 32)
    mixed = without(first, 1, second.outputs[1])
    fewer = without(first, 2, outputs(world, attempt, accepted=b"\1\1\1\0").outputs[2])
    for body in (mixed, fewer):
        assert set(said(world, wire.encode(body)).values()) == {"dispute"}
    assert said(world, wire.encode(second)) == dict.fromkeys("abcd", "seal")


def test_a_strangers_output_a_twice_sent_one_and_a_missing_one_are_nothing():
    world, attempt = locked_round()
    told_of_lock(world, attempt)
    good = outputs(world, attempt)
    twice = without(good, 1, good.outputs[0])
    fewer = pb.Outputs(lock_id=good.lock_id, outputs=good.outputs[:2])
    stranger = without(good, 0, pb.Signed(**{**_fields(good.outputs[0]), "sender": world.orgs[0]}))
    for body in (twice, fewer, stranger):
        assert set(said(world, wire.encode(body)).values()) == {"dispute"}
    # three refused tries are all there are, so that no stream of outputs can be fished for reactions
    assert set(said(world, wire.encode(good)).values()) == {"sum.tries"}


def test_a_hospital_that_was_left_out_is_named_and_its_commitment_is_not_in_the_product():
    world, attempt = locked_round()
    told_of_lock(world, attempt)
    body = wire.encode(outputs(world, attempt, accepted=b"\1\1\0\1"))
    assert said(world, body) == dict.fromkeys("abcd", "seal")
    # and three of four only: a set of two is opened by nobody
    world, attempt = locked_round()
    told_of_lock(world, attempt)
    body = wire.encode(outputs(world, attempt, accepted=b"\1\0\0\1"))
    assert said(world, body) == dict.fromkeys("abcd", "dispute")


def test_who_claims_that_all_are_in_it_when_one_is_not_is_found_out():
    world, attempt = locked_round()
    told_of_lock(world, attempt)
    true = outputs(world, attempt, accepted=b"\1\1\0\1")
    assert set(said(world, wire.encode(true)).values()) == {"seal"}
    record = world["a"].store
    first = record.get(sim.STUDY.hex(), "accepted-m0")
    assert first == b"".join(org for org, yes in zip(world.orgs, b"\1\1\0\1", strict=True) if yes)


def test_a_share_that_is_not_what_was_committed_to_stops_the_round():
    """The hospital lies, not a member: it shares another vector than it committed to."""
    world, attempt = locked_round()
    org, plan = world.orgs[1], attempt.plan()
    u = np.arange(plan.length, dtype=np.int64)
    members = tuple((agent.address, envelopes.public_of(secret)) for agent, secret in member_keys())
    lie = sharing.seal(sharing.share(u, 7), plan.plan_hash, org, members).to_bytes()
    upload = attempt.upload[org]
    upload.ciphertext = lie
    digest = digests.receipt_digest(
        digests.ledger_domain(plan.ctx),
        plan.plan_hash,
        org,
        digests.upload_hash(digests.hashlib.sha256(lie).digest(), upload.rho_box),
    )
    upload.signature = world.members[org].agent.sign(digest)
    attempt.lock()
    honest = [m for m in world if m.org != org]
    for member in honest:
        member.handle("locked", wire.encode(attempt.locked()))
    for member in honest:
        assert member.handle("outputs", wire.encode(outputs(world, attempt)))[-1][0] == "dispute"


def test_the_outputs_open_for_no_member_and_no_outsider():
    world, attempt = locked_round()
    made = outputs(world, attempt)
    for signed in made.outputs:
        output = pb.Output.FromString(signed.payload)
        for _, secret in member_keys():
            for key in output.keys:
                assert (
                    code_of(lambda s=secret, k=key: envelopes.open_sealed(s, b"", k.sealed))
                    == "envelope.open"
                )


def test_a_sum_under_fhe_is_not_taken_in_a_committees_study():
    world, attempt = locked_round()
    told_of_lock(world, attempt)
    body = wire.encode(pb.Sum(lock_id=attempt.locked().lock_id, total=b"x" * 100))
    assert set(said(world, body, "sum").values()) == {"round.kind"}


def test_outputs_that_come_before_the_lock_is_known_wait():
    world, attempt = locked_round()
    body = wire.encode(outputs(world, attempt))
    assert set(said(world, body).values()) == {"lock.not_final"}
    told_of_lock(world, attempt)
    assert set(said(world, body).values()) == {"seal"}


# members -----------------------------------------------------------------------------------------------


@pytest.fixture
def seated():
    world, attempt = locked_round()
    return world, attempt, Member(0, world)


def test_a_member_computes_when_the_lock_is_final_and_every_share_is_there(seated):
    world, attempt, member = seated
    member.inputs(inputs(attempt))
    member.compute(inputs(attempt).lock_id)
    for org in world.orgs:
        assert member.due() is None
        member.share(attempt.upload[org])
    due = member.due()
    assert due is not None
    assert (due.round, due.number, due.lock_id) == (1, 1, inputs(attempt).lock_id)


def test_a_member_computes_nothing_before_the_chains_lock_is_final(seated):
    world, attempt, member = seated
    world.chain.head = replace(world.chain.head, lock=None)
    with pytest.raises(Unavailable):
        member.inputs(inputs(attempt))
    with pytest.raises(Unavailable):
        member.share(attempt.upload[world.orgs[0]])
    with pytest.raises(Unavailable):
        member.compute(inputs(attempt).lock_id)


def test_a_member_computes_nothing_for_an_abandoned_or_another_lock(seated):
    world, attempt, member = seated
    message = inputs(attempt)
    lock = world.chain.head.lock
    for changes in ({"abandoned": True}, {"lock_id": bytes(32)}):
        world.chain.head = replace(world.chain.head, lock=replace(lock, **changes))
        assert code_of(lambda: member.inputs(message)) == "lock.other"
    # abandoned after the inputs came: nothing is due any more
    world.chain.head = replace(world.chain.head, lock=lock)
    member.inputs(message)
    for org in world.orgs:
        member.share(attempt.upload[org])
    member.compute(message.lock_id)
    assert member.due() is not None
    world.chain.head = replace(world.chain.head, lock=replace(lock, abandoned=True))
    assert member.due() is None
    assert code_of(lambda: member.compute(message.lock_id, 2)) == "lock.other"


def _drop(message: pb.Inputs) -> None:
    del message.receipts[1]


def _drop_header(message: pb.Inputs) -> None:
    del message.headers[0]


def _swap_readers(message: pb.Inputs) -> None:
    message.hellos[0].CopyFrom(message.hellos[1])


def _forge_reader(message: pb.Inputs) -> None:
    hello = pb.Hello.FromString(message.hellos[0].payload)
    hello.hpke_key = envelopes.generate()[1]
    message.hellos[0].payload = wire.encode(hello)


def _drop_reader(message: pb.Inputs) -> None:
    del message.hellos[-1]


def _later(message: pb.Inputs) -> None:
    message.lock_by += 1


def _other_commitment(message: pb.Inputs) -> None:
    message.receipts[0].rho_box = message.receipts[1].rho_box


ALTERED = {
    _drop: "plan.receipts",
    _drop_header: "plan.receipts",
    _swap_readers: "wire.order",
    _forge_reader: "signature.wrong_signer",
    _drop_reader: "hellos.set",
    _later: "signature.wrong_signer",
    _other_commitment: "signature.wrong_signer",
}


@pytest.mark.parametrize("alter", ALTERED, ids=lambda f: f.__name__)
def test_inputs_that_are_not_what_the_chain_locked_are_dropped(seated, alter):
    """Above all the hellos: whoever could put its own key there would read the result."""
    _, attempt, member = seated
    message = inputs(attempt)
    alter(message)
    with pytest.raises(Hostile) as e:
        member.inputs(message)
    assert e.value.code.split(".")[0] == ALTERED[alter].split(".")[0]
    assert member.store.slots(f"{sim.STUDY.hex()}/1/{message.lock_id.hex()}", "inputs") == {}


def test_a_replayed_or_altered_share_is_dropped(seated):
    world, attempt, member = seated
    with pytest.raises(Unavailable):
        member.share(attempt.upload[world.orgs[0]])  # nothing says yet which plan is locked
    member.inputs(inputs(attempt))
    first, second = (attempt.upload[org] for org in world.orgs[:2])
    stolen = pb.Upload(**{**_fields(first), "ciphertext": second.ciphertext})
    assert code_of(lambda: member.share(stolen)) == "share.receipt"
    old = pb.Upload(**{**_fields(first), "plan_hash": bytes(32)})
    assert code_of(lambda: member.share(old)) == "lock.other"
    stranger = pb.Upload(**{**_fields(first), "org": b"\7" * 20})
    assert code_of(lambda: member.share(stranger)) == "share.receipt"


def test_a_member_runs_the_studys_code_or_nothing(seated):
    world, attempt, member = seated
    from participants.committee import machine

    seat = replace(member.seat, code_hash=bytes(32))
    with pytest.raises(Refused) as e:
        machine.on_inputs(world.spec, wire.encode(inputs(attempt)), seat, member.store, member.view())
    assert e.value.code == "task.code"


def test_a_member_that_will_not_compute_says_why(seated, tmp_path):
    """Over its real loop: a letter that is refused is answered, once, with the code."""
    world, attempt, member = seated
    mailbox, key = MemoryMailbox(), member_keys()[0][0]
    bench = Bench(key.secret, member_keys()[0][1], "", tmp_path, None, ("", 0), {})  # type: ignore[arg-type]
    loop = Committee(
        bench,
        coordinator=sim.COORDINATOR,
        code_hash=bytes(32),
        store=member.store,
        mailbox=mailbox,
        chain=None,  # type: ignore[arg-type]
    )
    loop.spec = lambda study: world.spec  # type: ignore[method-assign]
    loop._view = lambda study: member.view()  # type: ignore[method-assign]
    mail = pb.Mail(kind="inputs", study=sim.STUDY, sender=sim.COORDINATOR, body=wire.encode(inputs(attempt)))
    mailbox.post(key.address, wire.encode(mail))
    loop.tick()
    loop.tick()
    (letter,) = mailbox.fetch(sim.COORDINATOR)
    said = pb.Signed.FromString(pb.Mail.FromString(letter.body).body)
    assert pb.JobFailed.FromString(said.payload).code == "task.code"
    assert mailbox.fetch(key.address) == []


def test_a_study_that_names_us_with_another_key_is_not_served():
    from participants.committee import machine

    world, _ = locked_round()
    offer = pb.StudyOffer(study=sim.STUDY, spec=world.spec.canonical(), sponsor_key=sim.sponsor_keys()[1])
    agent, secret = member_keys()[0]
    machine.check_offer(offer, world.spec, world.chain.study, agent.address, envelopes.public_of(secret))
    with pytest.raises(Refused):
        machine.check_offer(offer, world.spec, world.chain.study, agent.address, envelopes.generate()[1])
    unpinned = replace(world.chain.study, spec_hash=bytes(32))
    with pytest.raises(Hostile):
        machine.check_offer(offer, world.spec, unpinned, agent.address, envelopes.public_of(secret))


def test_what_a_meeting_came_to_is_said_again_and_forgotten_with_the_seal(seated):
    world, attempt, member = seated
    from participants.committee import machine

    member.inputs(inputs(attempt))
    for org in world.orgs:
        member.share(attempt.upload[org])
    lock_id = inputs(attempt).lock_id
    member.compute(lock_id)
    due = member.due()
    step = member.keep(machine.came_to(due, None, "mpc.silent_peer", member.seat))
    assert member.due() is None
    assert member.compute(lock_id).send == step.send
    member.compute(lock_id, 2)
    assert member.due().number == 2
    told_of_lock(world, attempt)
    for hospital in world:
        hospital.handle("outputs", wire.encode(outputs(world, attempt)))
    seal = world["a"].handle("outputs", wire.encode(outputs(world, attempt)))[0][1]
    world.chain.attest(wire.seal_from(pb.SealShare.FromString(pb.Signed.FromString(seal).payload).seal))
    member.keep(machine.tidy(sim.STUDY, member.store, member.view()))
    assert member.store.get(f"{sim.STUDY.hex()}/1/{lock_id.hex()}", "inputs") is None
    assert member.due() is None


def _fields(message) -> dict[str, object]:
    return {field.name: value for field, value in message.ListFields()}
