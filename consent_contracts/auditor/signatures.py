"""Every Receipt and Seal signature again, against the agent in force at its moment.

The events do not repeat signatures: they are in the transaction's calldata. A node cannot forge them, so its
answer needs no second opinion. Where a wallet contract stood between, the calldata is not the call and the
check fails with ``audit.no_calldata``; the bundle's signatures are checked apart (see `content`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from consent_contracts import abi
from consent_contracts.auditor.replay import Locking, SealedLock
from consent_contracts.auditor.verdict import Findings, expect, short
from consent_contracts.chain import Addresses
from consent_contracts.index import Event
from consent_contracts.rpc import Rpc, data, field, record
from consent_contracts.signed import verify_typed
from consilium_errors import Hostile
from protos import digests


class Signatures:
    """Args: ``rpcs``: asked in turn until one has the transaction."""

    def __init__(self, rpcs: Sequence[Rpc], addresses: Addresses, findings: Findings) -> None:
        self._rpcs, self._addresses, self._findings = rpcs, addresses, findings

    def receipts(self, locking: Locking) -> None:
        lock = locking.lock
        subject = f"{short(lock.ctx.study)} round {lock.ctx.round}"
        with self._findings.checking("receipts", subject, f"{len(lock.orgs)} signatures"):
            call = self._call(lock.event, "lock")
            expect("audit.calldata", "organisations in the transaction", lock.orgs, call["orgs"])
            expect("audit.calldata", "uploads in the transaction", lock.uploads, call["uploadHashes"])
            expect("audit.signatures", "signatures", len(lock.orgs), len(call["sigs"]))
            domain, plan = digests.ledger_domain(lock.ctx), lock.plan_hash
            for org, upload, signature in zip(lock.orgs, lock.uploads, call["sigs"], strict=True):
                digest = digests.receipt_digest(domain, plan, org, upload)
                verify_typed(digest, signature, org, locking.agents)
                self._findings.signatures += 1

    def seal(self, sealed: SealedLock) -> None:
        lock = sealed.lock
        subject = f"{short(lock.ctx.study)} round {lock.ctx.round}"
        with self._findings.checking(
            "signatures", subject, f"{len(lock.orgs) - len(sealed.absent)} signatures"
        ):
            call = self._call(sealed.event, "attest")
            expect("audit.calldata", "organisations in the transaction", lock.orgs, call["orgs"])
            expect("audit.signatures", "signatures", len(lock.orgs), len(call["sigs"]))
            signed = dict(zip(lock.orgs, call["sigs"], strict=True))
            absent = tuple(org for org, signature in signed.items() if not signature)
            expect("audit.absent", "absent organisations", sealed.absent, absent)
            # The id is recomputed from the seal itself, never taken from the event.
            seal_id = sealed.seal.digest(digests.ledger_domain(lock.ctx))
            for org in lock.orgs:
                if org not in absent:
                    verify_typed(seal_id, signed[org], org, sealed.seal_agents)
                    self._findings.signatures += 1

    def _call(self, event: Event, function: str) -> Mapping[str, Any]:
        for rpc in self._rpcs:
            found = rpc.call("eth_getTransactionByHash", "0x" + event.tx.hex())
            if found is None:
                continue
            transaction = record(found)
            if transaction.get("to") is None or data(transaction["to"], 20) != self._addresses.ledger:
                break
            calldata = data(field(transaction, "input"))
            return abi.contract(abi.LEDGER).functions[function].named(calldata)
        raise Hostile("audit.no_calldata", f"the transaction of this {function} is not to be had")
