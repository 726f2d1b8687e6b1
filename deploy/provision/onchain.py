"""The consortium on its chain: the contracts, and the role that each organisation has in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from consent_contracts import abi
from consent_contracts.chain import Addresses
from consent_contracts.contracts import Contracts, role_id
from consent_contracts.laptop import deploy
from consent_contracts.rpc import Rpc
from consent_contracts.sender import Sender, SqliteStore
from consilium_errors import Hostile, Misuse
from crypto.identity import AgentKey
from deploy.provision.config import Chain

Member = tuple[str, bytes]


def settle(
    chain: Chain, admin: AgentKey | None, folder: Path, members: Iterable[Member]
) -> tuple[Addresses, list[str]]:
    """Deploy if asked, and give the roles that are missing.

    Sending again after a kill sends nothing twice: what was sent is remembered in ``folder``.

    Args:
        members: (role in capitals, organisation).

    Returns:
        The addresses, and what is left for an administrator to do by hand.

    Raises:
        Hostile: ``chain.wrong_id``. Unavailable: the node is away. Refused: as the contract says.
    """
    sender = None if admin is None else _sender(chain, admin, folder)
    _check_id(chain)
    if chain.contracts == "deploy":
        if sender is None:
            raise Misuse("consortium.invalid", "nobody is named who deploys", "set chain.admin")
        addresses = deploy(sender)
    else:
        named = chain.contracts
        addresses = Addresses(chain.id, named.registry, named.ledger, named.since)
    return addresses, _roles(chain, addresses, sender, members)


def _sender(chain: Chain, admin: AgentKey, folder: Path) -> Sender:
    return Sender(
        chain.rpc[0], admin.secret, SqliteStore(folder / "transactions.db"), finality=chain.finality
    )


def _check_id(chain: Chain) -> None:
    for url in chain.rpc:
        found = Rpc(url).chain_id()
        if found != chain.id:
            raise Hostile(
                "chain.wrong_id", f"expected chain {chain.id}, found {found}", "name the right node"
            )


def _roles(chain: Chain, addresses: Addresses, sender: Sender | None, members: Iterable[Member]) -> list[str]:
    left = []
    for role, org in members:
        if has_role(Rpc(chain.rpc[0]), addresses, role, org):
            continue
        if sender is None:
            left.append(f"grantRole({role}, 0x{org.hex()}) on the registry")
        else:
            Contracts(sender, addresses).grant_role(role, org)
    return left


def has_role(rpc: Rpc, addresses: Addresses, role: str, org: bytes) -> bool:
    """Whether the registry knows ``org`` in this role now (not yet final)."""
    registry = abi.contract(abi.REGISTRY)
    calldata = registry.encode("hasRole", role_id(role), org)
    return bool(registry.decode("hasRole", rpc.eth_call(addresses.registry, calldata))["0"])
