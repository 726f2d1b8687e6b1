"""A consent that is withdrawn at the worst moment: after the upload, before the lock."""

from __future__ import annotations

from dataclasses import dataclass

from consent_contracts.chain import Snapshot
from consent_contracts.rpc import Rpc, field, quantity, record
from consilium_errors import Hostile, Refused, Unavailable
from coordinator.client import Kit
from deploy.demo.federation import SPONSOR
from deploy.demo.session import Session, Study


@dataclass(frozen=True)
class Refusal:
    """A transaction that the ledger refused: its hash, its block, the contract's reason."""

    hospital: str
    transaction: str
    block: int
    code: str


def revoke_before_lock(session: Session, study: Study, hospital: str) -> Refusal:
    """Hold the lock of the study's first opening on the coordinator's line until ``hospital`` has revoked.

    The line is told to delay before the study begins. A held transaction shows that all uploads are in: the
    coordinator has built it from their receipts.

    Raises:
        Hostile: ``demo.not_refused`` if the contract locked that set, ``demo.opened`` if it charged for it.
    """
    federation, screen = session.federation, session.screen
    line = federation.line
    with screen.waiting("waiting for the uploads"):
        session.until(study, line.held.is_set)
        screen.line("uploads", f"{len(session.federation.names)} encrypted uploads, {hospital}'s too", "in")
        screen.note("the coordinator's line now delays the lock's transaction, as any network may")
        session.people.run("participant", "refuse", study.spec.id, "--kit", federation.kit(hospital))
        screen.line("revoke", f"{hospital}'s steward: consilium participant refuse {study.spec.id}")
        line.let_go()
        refusal = _mined(session, study, hospital)
    screen.line("lock", f"the contract refuses the set with {hospital}: {refusal.code}", "REFUSED")
    if not untouched(session, study, refusal.block):
        raise Hostile("demo.opened", "something was locked or charged in spite of the refusal")
    screen.note(
        f"transaction {refusal.transaction[:12]}… reverted in block {refusal.block}: no lock, no charge"
    )
    return refusal


def _mined(session: Session, study: Study, hospital: str) -> Refusal:
    node, name = Rpc(session.federation.rpc), "0x" + session.federation.line.transaction.hex()
    session.until(study, lambda: node.call("eth_getTransactionReceipt", name) is not None)
    receipt = record(node.call("eth_getTransactionReceipt", name))
    block = quantity(field(receipt, "blockNumber"))
    if quantity(field(receipt, "status")) != 0:
        raise Hostile("demo.not_refused", "the contract locked a set without consent")
    sent = record(node.call("eth_getTransactionByHash", name))
    request = {"from": sent["from"], "to": sent["to"], "data": sent["input"]}
    try:
        node.call("eth_call", request, hex(block))
    except Refused as error:
        return Refusal(hospital, name, block, error.code)
    raise Unavailable("demo.unexplained", "the node does not say why it refused the lock")


def untouched(session: Session, study: Study, block: int) -> bool:
    """Whether the chain shows, as of ``block``, no lock, no seal and no exact release of any dataset."""
    chain = Kit.load(session.federation.kit(SPONSOR)).config.chain.open()
    try:
        header = chain.rpcs[0].block(block)
        then = Snapshot(chain, block, header["hash"], header["timestamp"])
        head = then.head(study.id)
        homes = map(session.home, session.federation.names)
        spent = [then.exact_spent(h.datasets.id(h.datasets.serving(study.spec))) for h in homes]
        return head.lock is None and head.attested == 0 and not any(spent)
    finally:
        chain.close()
