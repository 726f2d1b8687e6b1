"""One meeting, in a process of its own (`crypto.mpc.process`): opens the member's store and computes the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analytics.study import StudySpec
from consent_contracts.chain import StudyView
from consent_contracts.plan import check_plan
from consilium_errors import Refused
from consilium_records import RecordStore
from crypto.identity import AgentKey
from crypto.mpc.handshake import Credentials, Session
from crypto.mpc.sharing import Upload
from crypto.vault import Vault
from participants.committee.machine import Due, Locked, lock_scope
from participants.committee.terms import fixed, rule_of, terms_of
from participants.round.by_committee import to_wire
from participants.store import open_store
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


@dataclass(frozen=True)
class Bench:
    """What a member brings to every meeting. The repr shows no secret.

    Args:
        key: agent's. hpke: secret that shares are sealed to. vault: key file of the store.
        listen: host and port of this member; ``peers``: where each of the others is found, by address.
        timeout_s: how long each wait for another member lasts.
    """

    key: bytes = field(repr=False)
    hpke: bytes = field(repr=False)
    store_url: str
    vault: Path
    credentials: Credentials
    listen: tuple[str, int]
    peers: Mapping[bytes, tuple[str, int]]
    timeout_s: float = 30.0


def compute(bench: Bench, due: Due, spec: bytes, study: StudyView, agents: Mapping[bytes, bytes]) -> bytes:
    """The output, encoded.

    Args:
        spec: canonical. study, agents: as the member's own nodes show them.

    Raises:
        Error: as `crypto.mpc.job.run`, and as connecting does.
    """
    import torch

    from crypto.mpc import job
    from crypto.mpc.links import Links

    torch.set_num_threads(1)
    store = open_store(bench.store_url, Vault.load_or_create(bench.vault))
    try:
        locked = _locked(store, due, StudySpec.from_canonical(spec), agents)
        members = [member.address for member in locked.spec.committee]
        key, analysis = AgentKey.from_bytes(bench.key), locked.analysis
        only = fixed(locked.plan, store.get(due.study.hex(), first_slot(analysis)))
        terms = terms_of(
            rule_of(locked.spec, analysis),
            members,
            locked.plan,
            due.lock_id,
            locked.receipts,
            study.min_sites,
            only,
        )
        name = digests.committee_session(due.lock_id, due.number)
        session = Session(members.index(key.address), tuple(members), name)
        addresses = _addresses(bench, members)
        journal = _Journal(store, due, locked)
        with Links.connect(session, addresses, bench.credentials, timeout_s=bench.timeout_s) as links:
            output = job.run(
                terms, job.Member(key, bench.hpke), _uploads(store, locked), locked.readers, links, journal
            )
        return wire.encode(to_wire(output, due.lock_id))
    finally:
        store.close()


def first_slot(analysis: str) -> str:
    """Of the study's scope: hospitals of the analysis's first result."""
    return f"first-{analysis}"


def _locked(store: RecordStore, due: Due, spec: StudySpec, agents: Mapping[bytes, bytes]) -> Locked:
    body = store.get(lock_scope(due.study, due.round, due.lock_id), "inputs")
    if body is None:
        raise AssertionError("a meeting is due only with its inputs")
    message = pb.Inputs.FromString(body)
    plan = check_plan(wire.ctx_from(message.ctx), message.headers, message.lock_by, agents)
    hellos = {signed.sender: pb.Hello.FromString(signed.payload) for signed in message.hellos}
    readers = {org: bytes(hello.hpke_key) for org, hello in hellos.items()}
    return Locked(spec, plan, due.lock_id, tuple(message.receipts), readers)


def _uploads(store: RecordStore, locked: Locked) -> dict[bytes, Upload]:
    found = {}
    for org in locked.plan.orgs:
        body = store.get(locked.scope, f"share-{org.hex()}")
        if body is None:
            raise AssertionError("a meeting is due only with every share")
        found[org] = Upload.from_bytes(body)
    return found


def _addresses(bench: Bench, members: Sequence[bytes]) -> list[tuple[str, int]]:
    """Raises Refused ``committee.unknown_peer`` for a member whose address this kit does not have."""
    own = AgentKey.from_bytes(bench.key).address
    found = []
    for member in members:
        address = bench.listen if member == own else bench.peers.get(member)
        if address is None:
            raise Refused(
                "committee.unknown_peer",
                f"the kit does not say where 0x{member.hex()} is found",
                "name it under [committee.peers] in consilium.toml",
            )
        found.append(address)
    return found


class _Journal:
    """`crypto.mpc.words.Journal` of one release over the member's store."""

    def __init__(self, store: RecordStore, due: Due, locked: Locked) -> None:
        self._store, self._locked = store, locked
        self._study = due.study.hex()
        self._scope = f"{self._study}/{due.round}/release-{locked.plan.ctx.release}"

    def get(self, slot: str) -> bytes | None:
        return self._store.get(self._scope, slot)

    def put(self, slot: str, body: bytes) -> None:
        records = [(self._scope, slot, body)]
        first = first_slot(self._locked.analysis)
        if slot == "accepted" and self._store.get(self._study, first) is None:
            orgs = (org for org, yes in zip(self._locked.plan.orgs, body, strict=True) if yes)
            records.append((self._study, first, b"".join(orgs)))
        self._store.commit(records)
