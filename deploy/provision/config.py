"""consortium.toml: who takes part, under which address, and where chain and coordinator are found.

schema = "consilium.consortium/1"
name = "lung-council"

[coordinator]
api = "council.example:8443"      # where clients reach the services
fleet = "council.example:8444"    # where hospitals reach the mailbox

[chain]
id = 31337
rpc = ["http://127.0.0.1:8545"]   # two that do not depend on each other, in earnest
contracts = "deploy"              # or { registry = "0x…", ledger = "0x…", since = 123 }
admin = "dev:0"                   # the account that deploys and gives roles; else it is done by hand

[[organisation]]
name = "h01"
role = "hospital"                 # its site in study files is its name
account = "dev:4"                 # or "new", "file:steward.key"; or address = "0x…", the key stays at home

[[organisation]]
name = "m1"
role = "committee"                # three of them, if a study is to be computed on shares
account = "new"
mesh = "m1.example:8445"          # where the other two reach it
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from consilium_errors import Misuse
from crypto.certificates import Role

LAPTOP_CHAIN = 31337
_REMEDY = "mend the named fields of the consortium file"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=1000)


def _address(value: object) -> object:
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return bytes.fromhex(value[2:])
    raise ValueError("is not 0x and 40 hexadecimal digits")


Address = Annotated[bytes, BeforeValidator(_address)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Endpoint = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$")]
Account = Annotated[str, Field(pattern=r"^(new|dev:[0-9]{1,2}|file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class Authority(_Model):
    """How long what the authority issues is valid, in days."""

    days: Annotated[int, Field(ge=1, le=825)] = 397
    own_days: Annotated[int, Field(ge=1, le=7300)] = 3650


class Coordinator(_Model):
    """``listen`` and ``fleet_listen`` default to all interfaces, or to loopback for a loopback endpoint."""

    api: Endpoint
    fleet: Endpoint
    listen: Endpoint | None = None
    fleet_listen: Endpoint | None = None
    ops_port: Port = 0


class Contracts(_Model):
    registry: Address
    ledger: Address
    since: Annotated[int, Field(ge=0)] = 0


class Chain(_Model):
    id: Annotated[int, Field(ge=1)]
    rpc: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://\S+$")], ...], Field(min_length=1)]
    contracts: Contracts | Literal["deploy"]
    admin: Account | None = None
    finality: Literal["finalized", "safe"] | Annotated[int, Field(ge=0)] = "finalized"


class Transport(_Model):
    """``file``: one SQLite file that every process of one machine shares; for trials, never between
    organisations."""

    kind: Literal["flower", "file"] = "flower"
    path: str = "mail.db"


class Organisation(_Model):
    """``data``: a hospital's hospital.toml files, relative to its kit. ``mesh``: where the other members of a
    committee reach this one; its account's key signs what it computes and sends no transactions."""

    name: Name
    role: Role
    account: Account | None = None
    address: Address | None = None
    data: tuple[str, ...] = ()
    ops_port: Port = 0
    mesh: Endpoint | None = None

    @model_validator(mode="after")
    def _one_identity(self) -> Organisation:
        if (self.role == "committee") != (self.mesh is not None):
            raise ValueError("a member of a committee, and nobody else, has mesh")
        if self.role == "committee" and self.account is None:
            raise ValueError("a member of a committee signs with its account's key: set account")
        if (self.account is None) == (self.address is None):
            raise ValueError("needs either an account or an address")
        return self


class Consortium(_Model):
    """The whole file."""

    schema_: Annotated[Literal["consilium.consortium/1"], Field(alias="schema")]
    name: Name
    authority: Authority = Authority()
    coordinator: Coordinator
    chain: Chain
    transport: Transport = Transport()
    organisation: Annotated[tuple[Organisation, ...], Field(min_length=1, max_length=1024)]

    @model_validator(mode="after")
    def _agrees(self) -> Consortium:
        names = [o.name for o in self.organisation]
        if len(set(names)) != len(names) or "authority" in names:
            raise ValueError("every organisation needs a name of its own, and none is called authority")
        if [o.role for o in self.organisation].count("coordinator") != 1:
            raise ValueError("there is exactly one coordinator")
        if self.chain.contracts == "deploy" and self.chain.admin is None:
            raise ValueError("to deploy the contracts, chain.admin must name the account that does it")
        accounts = [self.chain.admin, *(o.account for o in self.organisation)]
        if self.chain.id != LAPTOP_CHAIN and any(a is not None and a.startswith("dev:") for a in accounts):
            raise ValueError(f"development accounts are public: they are for chain {LAPTOP_CHAIN} only")
        return self

    @classmethod
    def load(cls, source: Path | str) -> Consortium:
        """Read a file (``Path``) or TOML text (``str``).

        Raises:
            Misuse: ``consortium.invalid`` naming every faulty field.
        """
        try:
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
            return cls.model_validate(tomllib.loads(text))
        except (OSError, UnicodeDecodeError) as error:
            raise Misuse("consortium.invalid", f"cannot read it: {type(error).__name__}", _REMEDY) from None
        except ValidationError as error:
            raise Misuse("consortium.invalid", "\n".join(_lines(error)), _REMEDY) from None
        except (ValueError, RecursionError) as error:
            raise Misuse("consortium.invalid", f"not TOML: {error}", _REMEDY) from None


def _lines(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False, include_input=False):
        where = ".".join(str(step) for step in item["loc"]) or "(file)"
        yield f"{where}: {item['msg'].removeprefix('Value error, ')}"
