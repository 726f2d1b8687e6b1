"""A committee of three real processes over real TLS, and the hospitals' side of a round."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from consilium_errors import Error
from crypto import envelopes
from crypto.identity import AgentKey
from crypto.mpc import sharing
from crypto.mpc.handshake import Credentials, Session
from crypto.mpc.links import Links
from crypto.mpc.process import Job
from crypto.mpc.words import Output, Terms, tagged
from tests.api.pki import CLIENT, SERVER, Authority


class Folder:
    """A journal in a folder, one file a slot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(exist_ok=True)

    def get(self, slot: str) -> bytes | None:
        file = self._path / slot.replace("/", "-")
        return file.read_bytes() if file.exists() else None

    def put(self, slot: str, body: bytes) -> None:
        with (self._path / slot.replace("/", "-")).open("xb") as file:
            file.write(body)


@dataclass(frozen=True)
class Seat:
    """What one member starts with."""

    rank: int
    key: bytes
    hpke: bytes
    credentials: Credentials
    folder: Path

    @property
    def org(self) -> bytes:
        return AgentKey.from_bytes(self.key).address

    def ready(self) -> None:
        """Tell the test that the point was reached."""
        self._mark.touch()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while not self._mark.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @property
    def _mark(self) -> Path:
        return self.folder.with_suffix(".ready")

    @property
    def journal(self) -> Folder:
        return Folder(self.folder)


class Committee:
    """Three seats with certificates of one authority."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder, self.authority = folder, authority
        self.seats = [self._seat(rank) for rank in range(3)]
        self.orgs = tuple(seat.org for seat in self.seats)

    def _seat(self, rank: int) -> Seat:
        key = AgentKey.generate()
        papers = self.authority.issue("committee", key.address, uses=[SERVER, CLIENT])
        folder = self.folder / f"{rank}-{key.address.hex()[:8]}"
        folder.mkdir(parents=True)
        credentials = Credentials(**papers.files(folder / "tls"))
        return Seat(rank, key.secret, envelopes.generate()[0], credentials, folder / "journal")

    def forget(self) -> None:
        """Empty journals: another release."""
        for seat in self.seats:
            for file in seat.folder.glob("*"):
                file.unlink()

    @property
    def public(self) -> list[tuple[bytes, bytes]]:
        return [(seat.org, envelopes.public_of(seat.hpke)) for seat in self.seats]

    @contextlib.contextmanager
    def started(
        self,
        play: Callable[..., Any],
        *args: object,
        each: Sequence[object] | None = None,
        timeout_s: float = 20,
    ) -> Iterator[list[Job[Any]]]:
        """``play(links, seat, *args)`` at each member, in a process of its own.

        Args:
            each: one more argument for each member.
        """
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in self.seats]
        addresses = [listener.getsockname() for listener in listeners]
        name = secrets.token_bytes(32)
        with contextlib.ExitStack() as stack:
            jobs = []
            for seat, listener in zip(self.seats, listeners, strict=True):
                own = () if each is None else (each[seat.rank],)
                session = Session(seat.rank, self.orgs, name)
                jobs.append(
                    stack.enter_context(
                        Job(at_the_table, play, session, addresses, listener, seat, timeout_s, *args, *own)
                    )
                )
            for listener in listeners:
                listener.close()
            yield jobs

    def play(self, play: Callable[..., Any], *args: object, **how: Any) -> list[Any]:
        """Results by rank; an error of ours stands in the place of its member's result."""
        with self.started(play, *args, **how) as jobs:
            return [outcome(job) for job in jobs]


def outcome(job: Job[Any], timeout_s: float = 60) -> Any:
    try:
        return job.result(timeout_s)
    except Error as error:
        return error


def codes(results: Sequence[Any]) -> list[str]:
    return [getattr(result, "code", "done") for result in results]


def at_the_table(
    play: Callable[..., Any],
    session: Session,
    addresses: list[tuple[str, int]],
    listener: socket.socket,
    seat: Seat,
    timeout_s: float,
    *args: object,
) -> Any:
    import torch

    torch.set_num_threads(1)
    listener.close()
    with Links.connect(session, addresses, seat.credentials, timeout_s=timeout_s) as links:
        return play(links, seat, *args)


@dataclass(frozen=True)
class Round:
    """A locked set with its uploads, as a committee meets it."""

    terms: Terms
    uploads: dict[bytes, sharing.Upload]
    vectors: dict[bytes, np.ndarray]
    randomness: dict[bytes, int]
    readers: dict[bytes, bytes]

    @property
    def recipients(self) -> dict[bytes, bytes]:
        return {org: envelopes.public_of(secret) for org, secret in self.readers.items()}

    def with_uploads(self, uploads: dict[bytes, sharing.Upload]) -> Round:
        """The same inputs, shared again under a new lock."""
        hashes = tuple(uploads[org].digest() for org in self.terms.orgs)
        terms = replace(self.terms, upload_hashes=hashes, lock_id=secrets.token_bytes(32))
        return replace(self, terms=terms, uploads=uploads)


def round_of(committee: Committee, vectors: Sequence[np.ndarray], **rules: Any) -> Round:
    from crypto.commitments import random_scalar

    orgs = sorted(secrets.token_bytes(20) for _ in vectors)
    by_org = dict(zip(orgs, vectors, strict=True))
    randomness = {org: random_scalar() for org in orgs}
    plan = secrets.token_bytes(32)
    uploads = {org: upload(committee, plan, org, by_org[org], randomness[org]) for org in orgs}
    terms = Terms(
        **{
            "lock_id": secrets.token_bytes(32),
            "plan_hash": plan,
            "inputs_root": tagged("test inputs", *orgs),
            "release": secrets.token_bytes(32),
            "orgs": tuple(orgs),
            "upload_hashes": tuple(uploads[org].digest() for org in orgs),
            "members": committee.orgs,
            "length": len(vectors[0]),
            "bound": None,
            "minimum": 3,
            **rules,
        }
    )
    readers = {org: envelopes.generate()[0] for org in orgs[:2]}
    return Round(terms, uploads, by_org, randomness, readers)


def upload(committee: Committee, plan: bytes, org: bytes, u: np.ndarray, r: int) -> sharing.Upload:
    return sharing.seal(sharing.share(u, r), plan, org, committee.public)


def compute(links: Links, seat: Seat, round_: Round, noise: Any = None) -> Output:
    """An honest member."""
    from crypto.mpc import job

    member = job.Member(AgentKey.from_bytes(seat.key), seat.hpke)
    source = noise(seat.rank) if noise else None
    return job.run(round_.terms, member, round_.uploads, round_.recipients, links, seat.journal, source)
