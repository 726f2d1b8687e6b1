"""One consistent view of the chain for the machine."""

from __future__ import annotations

from consent_contracts.chain import AnalysisView, Chain, Snapshot
from consilium_records import RecordStore
from participants.round import HospitalRound, View
from protos import digests
from protos.consilium.v1 import round_pb2 as pb


def view(
    chain: Chain, study: bytes, machine: HospitalRound, store: RecordStore, since: float | None = None
) -> View:
    """Read everything at one block that is final on every RPC.

    Args:
        since: see `Chain.snapshot`.

    Raises:
        Hostile: ``chain.rpcs_disagree``. Unavailable: an RPC is away.
    """
    snapshot = chain.snapshot(since)
    on_chain = snapshot.study(study)
    head = snapshot.head(study)
    return View(
        study=on_chain,
        analysis=_analysis(snapshot, study, head.attested, machine, store),
        head=head,
        gates=tuple(snapshot.gate(study, machine.site.datasets)),
        agents=snapshot.agents(on_chain.roster),
        now=snapshot.now(),
    )


def _analysis(
    snapshot: Snapshot, study: bytes, attested: int, machine: HospitalRound, store: RecordStore
) -> AnalysisView:
    held = store.get(study.hex(), f"state-{attested}")
    name = machine.ports.analyst.current(pb.StateHandover.FromString(held).state) if held else ""
    if not name:
        return AnalysisView(rho=0, delta=0, noise=digests.ZERO32)
    return snapshot.analysis(study, digests.analysis_id(name))
