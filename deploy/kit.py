"""A kit as the processes of its role need it: what `coordinator.client.kit` reads, and more.

[transport]
kind = "flower"               # or "file", with path: one SQLite file for a trial on one machine

[serve]
state = "state"               # databases and, at a hospital, the vault's key; below the kit unless absolute
ops_port = 9101               # /metrics and /health on loopback; 0: any
listen = "0.0.0.0:8443"       # coordinator only, as fleet_listen

[committee]                   # committee only
listen = "0.0.0.0:8445"
peers = { "0x…" = "m2.example:8445", "0x…" = "m3.example:8445" }

[[dataset]]                   # hospital only
name = "lung"                 # for good: the dataset on the chain is named after it; default: config
config = "hospital.toml"
studies = ["lung-os"]         # default: every study whose variables the file maps
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from consilium_errors import Misuse
from coordinator.client.kit import (
    CONFIG,
    Address,
    CoordinatorSection,
    Kit,
    KitConfig,
    _Section,
    default_folder,
)
from crypto.certificates import Role

Endpoint = Annotated[str, Field(pattern=r"^[^\s/]+:[0-9]{1,5}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
C = TypeVar("C", bound=KitConfig)


class Transport(_Section):
    kind: Literal["flower", "file"] = "flower"
    path: str = "mail.db"


class Serve(_Section):
    """``store``: SQLAlchemy URL of the database; default SQLite below ``state``."""

    state: str = "state"
    ops_port: Port = 0
    store: str | None = None


class CoordinatorServe(Serve):
    listen: Endpoint
    fleet_listen: Endpoint | None = None


class Hub(CoordinatorSection):
    fleet: Endpoint | None = None


class DatasetSection(_Section):
    config: str
    name: str = ""
    studies: tuple[str, ...] = ()


class HospitalConfig(KitConfig):
    name: str
    role: Literal["hospital"]
    coordinator: Hub
    transport: Transport = Transport()
    serve: Serve = Serve()
    dataset: tuple[DatasetSection, ...] = ()


class CoordinatorConfig(KitConfig):
    name: str
    role: Literal["coordinator"]
    coordinator: Hub
    transport: Transport = Transport()
    serve: CoordinatorServe
    members: Annotated[dict[str, Address], Field(default_factory=dict)]


class CommitteeSection(_Section):
    """``listen``: where the other members reach this one; ``peers``: where they are found, by address."""

    listen: Endpoint
    peers: dict[str, Endpoint]
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0


class CommitteeConfig(KitConfig):
    name: str
    role: Literal["committee"]
    coordinator: Hub
    transport: Transport = Transport()
    serve: Serve = Serve()
    committee: CommitteeSection


@dataclass(frozen=True)
class _Home:
    """A kit's folder and what is found in it."""

    folder: Path

    def below(self, path: str) -> Path:
        """``path``, relative to the kit's folder."""
        return self.folder / path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "tls.pem"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"


@dataclass(frozen=True)
class HospitalKit(_Home):
    config: HospitalConfig

    @classmethod
    def load(cls, folder: Path | None = None) -> HospitalKit:
        """Raises Misuse ``kit.missing``, ``kit.invalid``, ``kit.role``."""
        folder = folder or default_folder()
        return cls(folder, _read(folder, HospitalConfig, "hospital"))

    @property
    def state(self) -> Path:
        return self.below(self.config.serve.state)

    @property
    def store_url(self) -> str:
        return self.config.serve.store or f"sqlite:///{self.state.resolve() / 'hospital.db'}"


@dataclass(frozen=True)
class CoordinatorKit(_Home):
    config: CoordinatorConfig

    @classmethod
    def load(cls, folder: Path | None = None) -> CoordinatorKit:
        """Raises Misuse ``kit.missing``, ``kit.invalid``, ``kit.role``."""
        folder = folder or default_folder()
        return cls(folder, _read(folder, CoordinatorConfig, "coordinator"))

    @property
    def state(self) -> Path:
        return self.below(self.config.serve.state)

    @property
    def store_url(self) -> str:
        return self.config.serve.store or f"sqlite:///{self.state.resolve() / 'coordinator.db'}"


@dataclass(frozen=True)
class CommitteeKit(_Home):
    config: CommitteeConfig

    @classmethod
    def load(cls, folder: Path | None = None) -> CommitteeKit:
        """Raises Misuse ``kit.missing``, ``kit.invalid``, ``kit.role``."""
        folder = folder or default_folder()
        return cls(folder, _read(folder, CommitteeConfig, "committee"))

    @property
    def state(self) -> Path:
        return self.below(self.config.serve.state)

    @property
    def store_url(self) -> str:
        return self.config.serve.store or f"sqlite:///{self.state.resolve() / 'committee.db'}"


def _read(folder: Path, kind: type[C], role: Role) -> C:
    found = Kit.load(folder).config  # names what is wrong with what every kit has
    if found.role != role:
        raise Misuse(
            "kit.role",
            f"{folder} is the kit of a {found.role}, not of a {role}",
            f"name a {role}'s kit with --kit",
        )
    try:
        return kind.model_validate(tomllib.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Misuse("kit.invalid", f"{folder / CONFIG}: {wrong}", "mend the named fields") from None
