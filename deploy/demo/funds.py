"""A little currency for new accounts, from the one that was named to pay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from consent_contracts.rpc import Rpc, quantity
from consent_contracts.sender import FEE_MARGIN, MemoryStore, Sender
from deploy.provision import accounts

#: Enough for the coordinator: about 800,000 for a lock and a seal, thirty rounds, and as much again.
GAS = 50_000_000


def spread(rpc: str, admin: str, to: Sequence[bytes], base: Path) -> None:
    """Give each account what ``GAS`` costs at most at today's fees; nothing where gas is free.

    Args:
        admin: as `accounts.key_of`.

    Raises:
        Misuse: ``account.*``. Unavailable: the node is away, or refuses for want of funds.
    """
    node = Rpc(rpc)
    base_fee = quantity(node.block("latest").get("baseFeePerGas", "0x0"))
    tip = quantity(node.call("eth_maxPriorityFeePerGas"))
    sender = Sender(node, accounts.key_of(admin, base).secret, MemoryStore())
    if (fee := base_fee * FEE_MARGIN + tip) == 0:
        return
    for account in to:
        sender.send(f"fund/{account.hex()}", account, b"", value=GAS * fee)
