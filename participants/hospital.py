"""One hospital at work: letters in, records, letters out. The machine decides; this moves bytes.

Each letter is handled to its end before it is acknowledged; what is to be said is recorded with the step and
posted from the outbox. A process killed anywhere repeats at most what a record already answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import OperationalError

from analytics.disclosure import Floor, check_result
from analytics.study import StudySpec
from analytics.table import Table
from consent_contracts.chain import Chain, own_node
from consent_contracts.signed import sign
from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable
from consilium_records import RecordStore
from crypto.identity import AgentKey
from participants import bundles, views
from participants.analyst import SpecAnalyst
from participants.offers import check_offer, check_price
from participants.ports import ports_for
from participants.review import Rules, ledger, only_encrypted
from participants.round import HospitalRound, Ports, Site, Step, StudyFacts, View
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import Letter, Mailbox

log = structlog.get_logger(__name__)

STUDIES = "studies"
_OF_A_ROUND = frozenset(
    {"task", "hellos", "plan", "locked", "recover", "sum", "outputs", "check", "checked-all", "ranges"}
)
TableOf = Callable[[StudySpec], Table]


@dataclass(frozen=True)
class Identity:
    """Who this hospital is, and whom it trusts."""

    org: bytes
    agent: AgentKey
    coordinator: bytes
    trusted: frozenset[bytes]
    code_hash: bytes


@dataclass(frozen=True)
class _Study:
    spec: StudySpec
    offer: pb.StudyOffer
    machine: HospitalRound
    analyst: SpecAnalyst


def _default_floor(spec: StudySpec) -> Floor:
    return Floor()


class Hospital:
    """One hospital and all its studies.

    Args:
        chain: read side over this hospital's own RPC proxies, at least two.
        table_of: reads the frozen cohort of a study; called only when a contribution is due.
        rules: this hospital's own, asked when a study is accepted and before each contribution.
        look_s: how often a study is looked at though no letter came; letters wake it.
        floor_of: the disclosure floor that a study's results must keep before they are released.
        ports: effects of the round's machine; the default is the real cipher.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        store: RecordStore,
        mailbox: Mailbox,
        chain: Chain,
        table_of: TableOf,
        rules: Rules = only_encrypted,
        floor_of: Callable[[StudySpec], Floor] = _default_floor,
        ports: Callable[[str, SpecAnalyst], Ports] = ports_for,
        look_s: float = 0.0,
    ) -> None:
        self._look_s, self._looked_at = look_s, float("-inf")
        self._touched: set[bytes] = set()
        self._kept = False
        self.identity = identity
        self.store = store
        self.chain = chain
        self._mailbox = mailbox
        self._table_of = table_of
        self._rules = rules
        self._floor_of = floor_of
        self._ports = ports
        self._studies: dict[bytes, _Study] = {}
        self.refusals: list[tuple[str, str]] = []

    # studies ------------------------------------------------------------------------------------------

    def offers(self) -> dict[bytes, StudySpec]:
        """Studies that were offered and are neither accepted nor refused yet."""
        found = {}
        for slot, body in self.store.slots(STUDIES, "offer-").items():
            study = bytes.fromhex(slot.removeprefix("offer-"))
            if self.store.get(STUDIES, f"accepted-{study.hex()}") is None:
                found[study] = StudySpec.from_canonical(wire.parse(pb.StudyOffer, body).spec)
        return found

    def accept(self, study: bytes, datasets: tuple[bytes, ...], rows: int = 0) -> None:
        """A person (or its rule) agreed to take part; consent is given on the chain apart.

        Args:
            datasets: ids on the chain, of this hospital. ``rows``: patients of the study's cohort here.

        Raises:
            Misuse: ``study.not_offered``. Refused: this hospital's rules are against it.
        """
        spec = self.check_offer(study, datasets, rows)
        held = pb.StateHandover(
            state=SpecAnalyst(spec, self._unread).genesis(), salt=digests.genesis_salt(spec.spec_hash)
        )
        records = [
            (STUDIES, f"accepted-{study.hex()}", b"".join(sorted(datasets))),
            (STUDIES, f"rows-{study.hex()}", rows.to_bytes(8, "big")),
            (study.hex(), "state-0", wire.encode(held)),
        ]
        self.store.commit(records)

    def check_offer(self, study: bytes, datasets: tuple[bytes, ...], rows: int) -> StudySpec:
        """Would `accept` accept? Nothing is recorded; raises as it does."""
        body = self.store.get(STUDIES, f"offer-{study.hex()}")
        if body is None:
            raise Misuse("study.not_offered", "no such study was offered", "wait for the sponsor's offer")
        known = self._build(wire.parse(pb.StudyOffer, body), b"".join(sorted(datasets)))
        self._check_rules(study, known, views.view(self.chain, study, known.machine, self.store), rows)
        return known.spec

    def _check_rules(self, study: bytes, known: _Study, view: View, rows: int) -> None:
        held = self.store.get(study.hex(), f"state-{view.head.attested}")
        if known.spec.release.mode == "dp" and held is not None:
            name = known.analyst.current(pb.StateHandover.FromString(held).state)
            check_price(known.spec, name, view.analysis)
        self._rules(known.spec, view, ledger(self.store, study, rows, view.now))

    def _unread(self) -> Table:
        raise AssertionError("no data is needed for the genesis")

    def study(self, study: bytes) -> _Study:
        """The accepted study, with its machine.

        Raises:
            Refused: ``study.not_accepted``.
        """
        if study not in self._studies:
            accepted = self.store.get(STUDIES, f"accepted-{study.hex()}")
            offer = self.store.get(STUDIES, f"offer-{study.hex()}")
            if accepted is None or offer is None:
                raise Refused("study.not_accepted", "this hospital takes no part in the study")
            self._studies[study] = self._build(wire.parse(pb.StudyOffer, offer), accepted)
        return self._studies[study]

    def _build(self, offer: pb.StudyOffer, accepted: bytes) -> _Study:
        spec = StudySpec.from_canonical(offer.spec)
        me, ids = self.identity, self.chain.addresses
        analyst = SpecAnalyst(spec, lambda: self._table_of(spec))
        facts = StudyFacts(
            offer.study, self.chain.addresses.chain_id, ids.registry, ids.ledger, spec.spec_hash
        )
        datasets = tuple(accepted[i : i + 32] for i in range(0, len(accepted), 32))
        site = Site(me.org, me.agent, datasets, me.trusted, me.code_hash)
        machine = HospitalRound(facts, site, self._ports(spec.sum, analyst))
        return _Study(spec, offer, machine, analyst)

    # letters ------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Deal with what is there: letters, seals on the chain, the outbox. True if anything was done."""
        done, self._kept, begun = self._flush(), False, time.monotonic()
        for letter in self._mailbox.fetch(self.identity.org):
            dealt = self._deal(letter)
            self._kept |= not dealt
            done |= dealt
        everywhere = time.monotonic() - self._looked_at >= self._look_s
        if everywhere:
            self._looked_at = time.monotonic()
        touched, self._touched = self._touched, set()
        for study in self._accepted():
            if everywhere or study in touched:
                done |= self._settle(study, begun)
        return self._flush() or done

    def wait(self, most_s: float) -> None:
        """Until a letter comes or a kept one may be dealt with, or it is time to look."""
        ahead = self.chain.pace if self._kept else self._looked_at + self._look_s - time.monotonic()
        self._mailbox.wait(min(most_s, max(ahead, 0.0)))

    def _accepted(self) -> list[bytes]:
        slots = self.store.names(STUDIES, "accepted-")
        return [bytes.fromhex(s.removeprefix("accepted-")) for s in slots]

    def _deal(self, letter: Letter) -> bool:
        me = self.identity.org
        try:
            mail = wire.parse(pb.Mail, letter.body)
        except Hostile as error:
            log.warning("letter dropped", code=error.code)
            self._mailbox.acknowledge(me, letter.number)
            return True
        try:
            if mail.kind == "offer":
                self._offered(mail)
            else:
                self._handle(mail)
        except Unavailable as error:
            log.info("letter kept for later", kind=mail.kind, code=error.code)
            return False
        except Hostile as error:
            log.warning("letter dropped", kind=mail.kind, code=error.code)
            self.refusals.append((mail.kind, error.code))
        except (Refused, Misuse) as error:
            self._refuse(mail, error)
        except (OSError, OperationalError) as error:  # a full disk, a locked database: nothing may be lost
            log.exception("letter kept for later", kind=mail.kind, code=type(error).__name__)
            return False
        except Exception as error:  # a fault of ours must not stop the other studies, nor be heard abroad
            log.exception("letter failed", kind=mail.kind)
            self._refuse(mail, Refused("hospital.failed", type(error).__name__))
        self._mailbox.acknowledge(me, letter.number)
        return True

    def _handle(self, mail: pb.Mail) -> None:
        study = self.study(mail.study)
        self._touched.add(mail.study)
        if mail.kind in ("locked", "attested"):  # what it tells of is in a newer block
            self.chain.refresh()
        view = self._view(mail.study, study)
        if mail.kind in _OF_A_ROUND:
            self._apply(mail.study, study.machine.settle(self.store, view))
        elif mail.kind in ("attested", "catch-up-request"):  # what they ask for may be settled only now
            self._apply_once(mail.study, study.machine.settle(self.store, view))
        if mail.kind in ("task", "hellos", "plan"):
            rows = self.store.get(STUDIES, f"rows-{mail.study.hex()}") or b""
            self._check_rules(mail.study, study, view, int.from_bytes(rows, "big"))
        step = study.machine.handle(mail.kind, mail.body, self.store, view)
        self._apply(mail.study, step)
        while step.again:
            step = study.machine.handle(mail.kind, mail.body, self.store, view)
            self._apply(mail.study, step)

    def _view(self, study: bytes, known: _Study, since: float | None = None) -> View:
        with own_node():
            return views.view(self.chain, study, known.machine, self.store, since)

    def _settle(self, study: bytes, since: float) -> bool:
        """What a letter's handling saw of the chain after ``since`` will do: we look again soon."""
        known = self.study(study)
        if self.store.get(study.hex(), "release") is not None:
            return False
        try:
            view = self._view(study, known, since)
            step = known.machine.settle(self.store, view)
            if step.progress == "behind" or not step.records:
                done = self._apply_once(study, step)
            else:
                done = self._apply(study, step)
            return self._release(study, known, view) or done
        except (Unavailable, Refused, Hostile) as error:
            log.info("study waits", code=error.code)
            return False

    def _apply_once(self, study: bytes, step: Step) -> bool:
        """A request for the state goes out when it is first recorded, not on every look."""
        return self._apply(study, step) if step.records else False

    def _release(self, study: bytes, known: _Study, view: View) -> bool:
        from analytics import registry
        from analytics.state import StudyState

        held = self.store.get(study.hex(), f"state-{view.head.attested}")
        if held is None or view.head.attested == 0:
            return False
        state = pb.StateHandover.FromString(held).state
        if known.analyst.current(state):
            return False
        sizes = [len(r.receipts) for r in bundles.rounds(self.store, study)]
        results = registry.results(known.spec, StudyState.from_bytes(state))
        sites = min(sizes, default=view.study.min_sites)
        for found in results.values():
            check_result(found, sites, self._floor_of(known.spec))
        result = bundles.canonical(results)
        ids = bundles.seal_ids(self.store, study)
        step = known.machine.release(result, known.offer.sponsor_key, ids, self.store, view)
        return self._apply(study, step)

    def _offered(self, mail: pb.Mail) -> None:
        """Record an offer whose content the chain pins; nothing is granted by it."""
        offer = wire.parse(pb.StudyOffer, mail.body)
        spec = StudySpec.from_canonical(offer.spec)
        with own_node():
            snapshot = self.chain.snapshot()
            on_chain = snapshot.study(offer.study)
            prices = {a: snapshot.analysis(offer.study, a) for a in on_chain.analyses}
        check_offer(offer, spec, on_chain, self.identity.org, prices.__getitem__)
        self.store.commit([(STUDIES, f"offer-{offer.study.hex()}", mail.body)])

    # what goes out ------------------------------------------------------------------------------------

    def _apply(self, study: bytes, step: Step) -> bool:
        letters = [(self.identity.coordinator, self._mail(study, k, b)) for k, b in step.send]
        self.store.commit(step.records, letters, step.forget)
        if step.progress:
            log.info("step", progress=step.progress)
        return bool(step.records or step.send)

    def _mail(self, study: bytes, kind: str, body: bytes) -> bytes:
        return wire.encode(pb.Mail(kind=kind, study=study, sender=self.identity.org, body=body))

    def _refuse(self, mail: pb.Mail, error: Error) -> None:
        """Only the code goes out, and what it is about."""
        log.warning("refused", kind=mail.kind, code=error.code)
        self.refusals.append((mail.kind, error.code))
        about = _about(mail)
        if about is None:
            return
        me = self.identity
        refusal = pb.Refusal(study=mail.study, org=me.org, code=error.code, about=about)
        body = wire.encode(sign("refusal", refusal, org=me.org, key=me.agent))
        self.store.commit(send=[(me.coordinator, self._mail(mail.study, "refusal", body))])

    def _flush(self) -> bool:
        return self.store.flush(self._mailbox.post)

    def close(self) -> None:
        self.store.close()


_CONTEXT: Mapping[str, Callable[[bytes], bytes]] = {
    "task": lambda body: wire.ctx_from(wire.parse(pb.Task, body).ctx).digest(),
    "hellos": lambda body: bytes(wire.parse(pb.Hellos, body).ctx_hash),
    "plan": lambda body: bytes(wire.parse(pb.Plan, body).ctx_hash),
}


def _about(mail: pb.Mail) -> bytes | None:
    """The attempt that is refused; None where a refusal has no use."""
    context = _CONTEXT.get(mail.kind)
    try:
        return None if context is None else context(mail.body)
    except Hostile:
        return None
