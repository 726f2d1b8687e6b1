"""The person's word, or the rule's: a study takes part here only after `Approvals.approve`.

Each step is idempotent, so that a process killed between two of them is simply started again:

1. the cohort is frozen, unless it is; 2. the hospital's own rules are asked and the study is accepted in the
store, where the serving process finds it; 3. dataset and budget are registered and consent is given on the chain
by the steward's key; 4. the decision is written down. Decisions are kept in order, the last one holds.

Who approves runs in a process of its own, with the steward's key; the serving process needs that key only where
hospital.toml says ``approve = "auto"``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analytics.privacy import cap, plan_of
from analytics.study import StudySpec
from consent_contracts.chain import Chain, StudyView
from consent_contracts.claims import NON_COMMERCIAL
from consilium_errors import Misuse, Refused
from consilium_records import RecordStore
from participants import review
from participants.consent_desk import ConsentDesk, Terms
from participants.datasets import Dataset, Datasets
from participants.hospital import STUDIES, Hospital
from participants.review import Ledger
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.digests import tagged

DAY_S = 86_400
CONSENT_DAYS = 365
YES, NO = b"yes", b"no"


@dataclass(frozen=True)
class Offered:
    """A study as it stands here. ``state``: waiting, approving, taking part, refused."""

    study: bytes
    spec: StudySpec
    state: str


class Approvals:
    """Args: ``hospital`` over the same store and chain; it need not be the one that serves."""

    def __init__(
        self,
        hospital: Hospital,
        datasets: Datasets,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hospital, self.datasets, self._clock = hospital, datasets, clock

    @property
    def store(self) -> RecordStore:
        return self._hospital.store

    @property
    def _chain(self) -> Chain:
        return self._hospital.chain

    # what there is --------------------------------------------------------------------------------------

    def offered(self) -> list[Offered]:
        """Every study ever offered, by its file's name."""
        found = self.store.slots(STUDIES, "offer-")
        ids = [bytes.fromhex(slot.removeprefix("offer-")) for slot in found]
        return sorted((self._offered(study) for study in ids), key=lambda o: (o.spec.id, o.study))

    def _offered(self, study: bytes) -> Offered:
        spec = StudySpec.from_canonical(self.offer(study).spec)
        decisions = self._decisions(study)
        if decisions:
            return Offered(study, spec, "taking part" if decisions[-1] == YES else "refused")
        accepted = self.store.get(STUDIES, f"accepted-{study.hex()}") is not None
        return Offered(study, spec, "approving" if accepted else "waiting")

    def _decisions(self, study: bytes) -> list[bytes]:
        return [body for _, body in sorted(self.store.slots(STUDIES, f"decision-{study.hex()}-").items())]

    def _decide(self, study: bytes, decision: bytes) -> None:
        before = self._decisions(study)
        if before[-1:] != [decision]:
            self.store.commit([(STUDIES, f"decision-{study.hex()}-{len(before):06}", decision)])

    def offer(self, study: bytes) -> pb.StudyOffer:
        """Raises Misuse ``study.not_offered``."""
        body = self.store.get(STUDIES, f"offer-{study.hex()}")
        if body is None:
            raise Misuse("study.not_offered", "no such study was offered", "wait for the sponsor's offer")
        return wire.parse(pb.StudyOffer, body)

    def find(self, name: str) -> Offered:
        """By the name in its file, its id, or the id's beginning.

        Raises:
            Misuse: ``study.not_offered``, ``study.ambiguous``.
        """
        prefix = name.removeprefix("0x").lower()
        found = [o for o in self.offered() if o.spec.id == name or _begins(o.study, prefix)]
        if not found:
            raise Misuse(
                "study.not_offered",
                f"no study {name} was offered",
                "`consilium participant review` lists them",
            )
        if len(found) > 1:
            raise Misuse("study.ambiguous", f"{name} may be {len(found)} studies", "give more of the id")
        return found[0]

    def on_chain(self, study: bytes) -> StudyView:
        """Raises Refused ``chain.unknown``, Unavailable: a node is away."""
        return self._chain.snapshot().study(study)

    def check(self, study: bytes, rows: int) -> None:
        """Would this hospital's rules let it take part with ``rows`` patients?

        Raises:
            Refused: the rule that is against it. Unavailable: a node is away.
        """
        self._hospital.check_offer(study, (self._its(study),), rows)

    def _its(self, study: bytes) -> bytes:
        spec = StudySpec.from_canonical(self.offer(study).spec)
        return self.datasets.id(self.datasets.serving(spec))

    def ledger(self, study: bytes) -> Ledger:
        rows = int.from_bytes(self.store.get(STUDIES, f"rows-{study.hex()}") or b"", "big")
        return review.ledger(self.store, study, rows, int(self._clock()))

    def booked(self) -> Mapping[bytes, int]:
        """Study → exact releases of it that this hospital has taken part in."""
        counts: dict[bytes, int] = {}
        for slot in self.store.slots(review.LEDGER, ""):
            study = bytes.fromhex(slot.partition("/")[0])
            counts[study] = counts.get(study, 0) + 1
        return counts

    # yes ------------------------------------------------------------------------------------------------

    def approve(self, study: bytes, desk: ConsentDesk, *, days: int = CONSENT_DAYS) -> bytes:
        """Take part and give consent for ``days``; returns the dataset's id. A refusal is lifted.

        Raises:
            Misuse: ``study.not_offered``, ``approval.steward``, and any fault of hospital.toml or its data.
            Refused: ``dataset.none``, this hospital's rules, or the contract's.
            Unavailable: the chain is away; the same call may be repeated.
        """
        if desk.org != self.datasets.org:
            raise Misuse(
                "approval.steward",
                f"the account 0x{desk.org.hex()} is not this hospital's",
                "use the steward's own key",
            )
        spec = StudySpec.from_canonical(self.offer(study).spec)
        dataset = self.datasets.serving(spec)
        self.datasets.freeze(dataset)
        its, rows = self.datasets.id(dataset), self.datasets.rows(spec)
        self._hospital.accept(study, (its,), rows)
        self._register(study, dataset, its, desk)
        self._grant(study, spec, its, desk, days)
        self._decide(study, YES)
        return its

    def _register(self, study: bytes, dataset: Dataset, its: bytes, desk: ConsentDesk) -> None:
        """The dataset by its roots, and what all studies together may open of it: exactly in the year to come,
        with noise for good."""
        snapshot, policy = self._chain.snapshot(), dataset.config
        known = snapshot.gate(study, [its])[0].steward == desk.org
        if not known:
            frozen = self.datasets.freeze(dataset)
            terms = tagged("dataset-terms", policy.policy.model_dump_json().encode())
            try:
                desk.register(
                    dataset.nonce,
                    root=frozen.root,
                    schema_hash=frozen.schema_hash,
                    terms_hash=terms,
                    cohort_root=frozen.cohort_root,
                )
            except (Refused, Misuse) as error:
                # Registered already, but not yet in a final block.
                if error.code not in ("chain.exists", "sender.key_reused"):
                    raise
        spent = snapshot.exact_spent(its) if known else 0
        left = policy.budget.exact_releases_per_year - self._opened_this_year()
        private = cap(policy.budget.epsilon, policy.budget.delta)
        desk.budget(its, rho=private.rho, delta=private.delta, exact=spent + max(0, left))

    def _opened_this_year(self) -> int:
        return self.ledger(bytes(32)).opened_this_year

    def _grant(self, study: bytes, spec: StudySpec, its: bytes, desk: ConsentDesk, days: int) -> None:
        if self._chain.snapshot().gate(study, [its])[0].reason == "live":
            return
        purpose = spec.purpose
        commercial = self.datasets.serving(spec).config.policy.commercial
        codes = (purpose.duo,) if commercial else (purpose.duo, NON_COMMERCIAL)
        values = {purpose.duo: purpose.disease} if purpose.disease else {}
        expiry = int(self._clock()) + days * DAY_S
        plan = plan_of(spec)
        if plan is None:
            terms = Terms(codes, values, expiry, exact_cap=len(spec.analysis))
        else:
            # Never more than was promised, whatever is opened again.
            terms = Terms(codes, values, expiry, rho_cap=plan.total.rho, delta_cap=plan.total.delta)
        desk.grant([its], study, terms)

    # no -------------------------------------------------------------------------------------------------

    def refuse(self, study: bytes, desk: ConsentDesk | None) -> bool:
        """Take no part, or no more; True if a consent was revoked on the chain. It can be approved later.

        Raises:
            Misuse: ``study.not_offered``; ``approval.steward`` if a consent stands that this cannot revoke.
        """
        self.offer(study)
        self._decide(study, NO)
        accepted = self.store.get(STUDIES, f"accepted-{study.hex()}")
        if not accepted:
            return False
        gate = self._chain.snapshot().gate(study, [accepted[:32]])[0]
        if gate.reason == "no_consent":
            return False
        if desk is None or desk.org != self.datasets.org:
            raise Misuse(
                "approval.steward",
                "the consent given on the chain still stands",
                "revoke it with the steward's key: consilium participant refuse STUDY --account FILE",
            )
        desk.revoke([accepted[:32]], study)
        return True


def _begins(study: bytes, prefix: str) -> bool:
    return len(prefix) >= 4 and study.hex().startswith(prefix)
