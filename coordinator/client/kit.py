"""A kit: the folder that an organisation was given when the consortium was provisioned.

    ca.pem  tls.pem  tls.key  consilium.toml  and, by role, key files of 32 bytes (0600):
    account.key   the account that sends this organisation's transactions
    hpke.key      sponsor: opens results; regulator: opens bundles

consilium.toml:

    schema = "consilium.kit/1"
    role = "sponsor"
    organisation = "0x…"

    [coordinator]
    target = "coordinator.example:8443"
    address = "0x…"

    [chain]
    id = 31337
    rpc = ["http://127.0.0.1:8545"]
    registry = "0x…"
    ledger = "0x…"
    since = 0
    finality = "finalized"     # or a number of blocks

    [sites]                    # name in study files → organisation
    h01 = "0x…"

A kit of another role may hold more; this reads what a client needs.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from consilium_errors import Misuse
from crypto.certificates import Role

if TYPE_CHECKING:
    from consent_contracts.chain import Addresses, Chain
    from consent_contracts.contracts import Contracts

CONFIG = "consilium.toml"
_REMEDY = "name a kit made by `consilium provision` with --kit"


def _address(value: object) -> object:
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return bytes.fromhex(value[2:])
    raise ValueError("is not 0x and 40 hexadecimal digits")


Address = Annotated[bytes, BeforeValidator(_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CoordinatorSection(_Section):
    target: Annotated[str, Field(pattern=r"^[^\s/]+:[0-9]{1,5}$")]
    address: Address


class ChainSection(_Section):
    id: int
    rpc: Annotated[tuple[str, ...], Field(min_length=1)]
    registry: Address
    ledger: Address
    since: int = 0
    finality: str | int = "finalized"

    def addresses(self) -> Addresses:
        from consent_contracts.chain import Addresses

        return Addresses(self.id, self.registry, self.ledger, self.since)

    def open(self) -> Chain:
        """A read side over this kit's own nodes; the caller closes it."""
        from consent_contracts.chain import Chain

        return Chain(self.rpc, self.addresses(), finality=self.finality)


class KitConfig(_Section):
    schema_: Annotated[Literal["consilium.kit/1"], Field(alias="schema")]
    role: Role
    organisation: Address
    coordinator: CoordinatorSection
    chain: ChainSection
    sites: dict[str, Address] = {}


@dataclass(frozen=True)
class Sponsor:
    """What a sponsor needs beside a connection: its account on the chain, the sites, its HPKE secret."""

    contracts: Contracts
    coordinator: bytes
    sites: Mapping[str, bytes]
    secret: bytes

    def __repr__(self) -> str:
        return f"Sponsor({self.contracts.sender!r})"


@dataclass(frozen=True)
class Kit:
    folder: Path
    config: KitConfig

    @classmethod
    def load(cls, folder: Path | None = None) -> Kit:
        """From ``folder``; default $CONSILIUM_KIT, else ~/.config/consilium.

        Raises:
            Misuse: ``kit.missing``, ``kit.invalid`` naming each field.
        """
        folder = folder or default_folder()
        path = folder / CONFIG
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls(folder, KitConfig.model_validate(document))
        except (OSError, UnicodeDecodeError):
            raise Misuse("kit.missing", f"no kit in {folder}", _REMEDY) from None
        except tomllib.TOMLDecodeError as error:
            raise Misuse("kit.invalid", f"{path} is not TOML: {error}", _REMEDY) from None
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise Misuse("kit.invalid", f"{path}: {wrong}", _REMEDY) from None

    def key(self, name: str) -> bytes:
        """A key file's 32 bytes.

        Raises:
            Misuse: ``kit.no_key``, ``key_file.*``.
        """
        from crypto import keyfiles

        try:
            return keyfiles.load(self.folder / name)
        except FileNotFoundError:
            raise Misuse(
                "kit.no_key", f"this kit has no {name}", "use the kit of the role that has"
            ) from None

    def sponsor(self) -> Sponsor:
        """Raises Misuse ``kit.no_key``; what is sent to the chain is remembered in transactions.db."""
        from consent_contracts.contracts import Contracts
        from consent_contracts.sender import Sender, SqliteStore

        sender = Sender(
            self.config.chain.rpc[0],
            self.key("account.key"),
            SqliteStore(self.folder / "transactions.db"),
            finality=self.config.chain.finality,
        )
        contracts = Contracts(sender, self.config.chain.addresses())
        return Sponsor(contracts, self.config.coordinator.address, self.config.sites, self.key("hpke.key"))

    def name_of(self, org: bytes) -> str:
        """The site's name, or the short address."""
        names = {address: name for name, address in self.config.sites.items()}
        return names.get(org, f"0x{org.hex()[:10]}…")


def default_folder() -> Path:
    named = os.environ.get("CONSILIUM_KIT")
    return Path(named) if named else Path.home() / ".config" / "consilium"
