"""What the committee is to do, from what everybody knows: the spec, the plan, the lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics import study_committee
from analytics.study import StudySpec
from consent_contracts.plan import Plan
from crypto.mpc.sharing import upload_digest
from crypto.mpc.words import Method, Terms, method_id
from protos import digests
from protos.consilium.v1 import round_pb2 as pb


@dataclass(frozen=True)
class CommitteeRule:
    """What it does besides adding, in one analysis.

    Args:
        bound: the L2 norm that an accepted vector may have; None: all that is well-formed is accepted.
        refuse: one vector beyond the bound, or unreadable, and nothing is opened.
    """

    method: Method = "sum"
    cut: int = 0
    bound: int | None = None
    refuse: bool = False

    @property
    def method_id(self) -> bytes:
        return method_id(self.method, self.cut, self.bound, self.refuse)

    @property
    def proven(self) -> bool:
        """Whether the hospitals' commitments prove the result; a median rests on the committee."""
        return self.method == "sum"


def rule_of(spec: StudySpec, analysis: str) -> CommitteeRule:
    found = study_committee.rule(spec, analysis)
    if found is None:
        return CommitteeRule()
    bound = study_committee.norm_bound(spec, analysis)
    return CommitteeRule(found.combine, found.cut, bound, found.outside == "refuse")


def terms_of(
    rule: CommitteeRule,
    members: Sequence[bytes],
    plan: Plan,
    lock_id: bytes,
    receipts: Sequence[pb.Receipt],
    min_sites: int,
    only: tuple[bytes, ...] | None,
) -> Terms:
    """The job's terms.

    Args:
        receipts: of the plan's hospitals, checked.
        only: in exact mode, what the analysis's first result was made of, if there was one.

    Raises:
        Misuse: ``mpc.terms``.
    """
    ctx = plan.ctx
    return Terms(
        lock_id=lock_id,
        plan_hash=plan.plan_hash,
        inputs_root=plan.inputs_root,
        release=digests.committee_release(ctx.study, ctx.round, ctx.release),
        orgs=plan.orgs,
        upload_hashes=tuple(upload_digest(r.ciphertext_digest) for r in receipts),
        members=tuple(members),
        length=plan.length,
        bound=rule.bound,
        minimum=len(plan.orgs) if rule.refuse else max(3, min_sites),
        method=rule.method,
        cut=rule.cut,
        only=only,
    )


def fixed(plan: Plan, stored: bytes | None) -> tuple[bytes, ...] | None:
    """What `terms_of` takes as ``only``: the organisations in ``stored`` bind an exact analysis."""
    free = plan.ctx.mode == digests.DP or all(use.leave_site_out for use in plan.uses)
    if stored is None or free:
        return None
    return tuple(stored[i : i + 20] for i in range(0, len(stored), 20))
