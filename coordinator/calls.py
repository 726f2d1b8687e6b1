"""What the coordinator asks of the chain, each at most once."""

from __future__ import annotations

from consent_contracts.contracts import Contracts
from coordinator.round import AttestCall, Call, RecoverCall


class ChainCalls:
    """Carries out every `Call`; raises as `consent_contracts.sender.Sender.send`."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    def __call__(self, call: Call) -> None:
        if isinstance(call, AttestCall):
            self._contracts.attest(call.study, call.seal, call.orgs, call.signatures)
            return
        if isinstance(call, RecoverCall):
            self._contracts.recover(call.study, call.lock_id, call.org)
            return
        self._contracts.lock(
            call.ctx,
            call.uses,
            call.orgs,
            call.ready_root,
            call.inputs_root,
            call.lock_by,
            call.upload_hashes,
            call.signatures,
        )
