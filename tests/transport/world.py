"""A consortium on loopback: one coordinator's transport and some hospitals', as real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from coordinator.transport.mailbox import FlowerMailbox, LinkConfig
from participants.transport.mailbox import NodeConfig, NodeMailbox
from tests.transport.pki import Authority, Paths, node_key

COORDINATOR = b"\xc0" * 20


def org(index: int) -> bytes:
    return bytes([index + 1]) * 20


def until(holds: Callable[[], bool], timeout_s: float = 180.0, poll_s: float = 0.005) -> float:
    """Wait; returns how long it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError
        time.sleep(poll_s)
    return time.monotonic() - began


class World:
    def __init__(
        self, folder: Path, hospitals: int, *, orgs: list[bytes] | None = None, me: bytes = COORDINATOR
    ) -> None:
        self._stack = ExitStack()
        self.folder, self.me = folder, me
        self.orgs = orgs or [org(i) for i in range(hospitals)]
        self.authority = Authority(folder / "pki")
        gate = self.authority.issue("gate", f"consilium://coordinator/0x{me.hex()}", server=True)
        self.keys = [node_key(self.authority.folder, f"h{i}") for i in range(hospitals)]
        self.kits = [self.kit(f"h{i}", self.orgs[i]) for i in range(hospitals)]
        self.revoked = self.authority.revoke()
        self.link = LinkConfig(
            folder=folder / "c",
            listen=("127.0.0.1", 0),
            ca=self.authority.ca,
            certificate=gate.certificate,
            key=gate.key,
            me=me,
            node_keys={self.orgs[i]: key.public for i, key in enumerate(self.keys)},
            revocations=self.revoked,
        )
        self.coordinator = FlowerMailbox(self.link)
        self._stack.callback(self.coordinator.stop)
        self.hospitals: list[NodeMailbox] = []

    def kit(self, name: str, member: bytes, role: str = "hospital") -> Paths:
        return self.authority.issue(name, f"consilium://{role}/0x{member.hex()}")

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.coordinator.gate.address[1]}"

    def start(self) -> None:
        self.coordinator.start()
        for index in range(len(self.keys)):
            self.add(index)

    def add(self, index: int) -> NodeMailbox:
        mailbox = NodeMailbox(
            NodeConfig(
                folder=self.folder / f"h{index}",
                server=self.server,
                ca=self.authority.ca,
                certificate=self.kits[index].certificate,
                key=self.kits[index].key,
                node_key=self.keys[index].private,
                org=self.orgs[index],
                coordinator=self.me,
            )
        )
        self.hospitals.append(mailbox)
        self._stack.callback(mailbox.stop)
        mailbox.start()
        return mailbox

    def settle(self) -> None:
        """Until every hospital has been heard."""
        until(lambda: all(ago is not None for ago in self.coordinator.connected().values()))

    def close(self) -> None:
        self._stack.close()


def drain(mailbox: FlowerMailbox | NodeMailbox, me: bytes) -> list[bytes]:
    """Fetch and acknowledge what is there, as a role does."""
    letters = mailbox.fetch(me)
    for letter in letters:
        mailbox.acknowledge(me, letter.number)
    return [letter.body for letter in letters]


class Flow:
    """Numbered letters both ways, to see that each arrives once and in order."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sent = 0
        self.down: dict[int, list[bytes]] = {i: [] for i in range(len(world.hospitals))}
        self.up: list[bytes] = []

    def send(self, count: int, size: int = 100) -> None:
        for _ in range(count):
            self._sent += 1
            for index, hospital in enumerate(self._world.hospitals):
                self._world.coordinator.post(org(index), self._letter("down", index, self._sent, size))
                hospital.post(COORDINATOR, self._letter("up", index, self._sent, size))

    @staticmethod
    def _letter(way: str, index: int, number: int, size: int) -> bytes:
        return f"{way} {index} {number} ".encode().ljust(size, b".")

    def collect(self) -> bool:
        """Fetch what has come; True when all has."""
        for index, hospital in enumerate(self._world.hospitals):
            self.down[index] += drain(hospital, org(index))
        self.up += drain(self._world.coordinator, COORDINATOR)
        return len(self.up) >= self._sent * len(self.down) and all(
            len(letters) >= self._sent for letters in self.down.values()
        )

    def check(self) -> None:
        """Exactly once, in order."""
        wanted = [str(n) for n in range(1, self._sent + 1)]
        for index, letters in self.down.items():
            assert [_number(letter, "down", index) for letter in letters] == wanted
            mine = [letter for letter in self.up if letter.startswith(f"up {index} ".encode())]
            assert [_number(letter, "up", index) for letter in mine] == wanted

    def finish(self, timeout_s: float = 180.0) -> float:
        took = until(self.collect, timeout_s)
        self.check()
        return took


def _number(letter: bytes, way: str, index: int) -> str:
    words = letter.decode().split()
    assert words[:2] == [way, str(index)]
    return words[2]
