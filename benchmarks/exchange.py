"""How long one exchange of letters takes: the coordinator here, SuperLink and nodes in processes of their own."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from consilium_errors import Unavailable
from coordinator.transport.mailbox import FlowerMailbox, LinkConfig
from deploy.provision.authority import Authority
from participants.transport.mailbox import NodeConfig, NodeMailbox

HUB = b"\xc0" * 20
TIMEOUT_S = 300.0
LOOK_S = 0.05


def measure(folder: Path, nodes: int, times: int) -> list[float]:
    """Seconds from letters to all ``nodes`` hospitals until the last one's answer has come; after one that is not
    counted.

    Raises:
        Unavailable: ``benchmark.timeout``.
    """
    world = _World(folder, nodes)
    try:
        return [world.exchange() for _ in range(times + 1)][1:]
    finally:
        world.close()


class _World:
    def __init__(self, folder: Path, nodes: int) -> None:
        self._authority = Authority.create(folder / "authority", "benchmark", 30)
        self._folder = folder
        orgs = [bytes([n + 1]) * 20 for n in range(nodes)]
        keys = {org: self._node_key(org) for org in orgs}
        gate = self._papers("gate", "coordinator", HUB, ["127.0.0.1"])
        self.hub = FlowerMailbox(
            LinkConfig(
                folder=folder / "hub",
                listen=("127.0.0.1", 0),
                ca=folder / "ca.pem",
                certificate=gate / "tls.pem",
                key=gate / "tls.key",
                me=HUB,
                node_keys=keys,
            )
        )
        self.hub.start()
        self.hospitals = {org: self._hospital(org) for org in orgs}

    def _papers(self, name: str, role: str, org: bytes, names: list[str]) -> Path:
        papers = self._authority.issue(name, role, org, names, 30)  # type: ignore[arg-type]
        kit = self._folder / name
        kit.mkdir(mode=0o700, exist_ok=True)
        (self._folder / "ca.pem").write_bytes(self._authority.pem)
        (kit / "tls.pem").write_bytes(papers.certificate)
        (kit / "tls.key").write_bytes(papers.key)
        return kit

    def _node_key(self, org: bytes) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
        (self._folder / f"{org.hex()}.key").write_bytes(secret)
        return key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)

    def _hospital(self, org: bytes) -> NodeMailbox:
        kit = self._papers(org.hex(), "hospital", org, [])
        node = NodeMailbox(
            NodeConfig(
                folder=kit / "wire",
                server=f"127.0.0.1:{self.hub.gate.address[1]}",
                ca=self._folder / "ca.pem",
                certificate=kit / "tls.pem",
                key=kit / "tls.key",
                node_key=self._folder / f"{org.hex()}.key",
                org=org,
                coordinator=HUB,
            )
        )
        node.start()
        return node

    def exchange(self) -> float:
        began = time.perf_counter()
        for org in self.hospitals:
            self.hub.post(org, b"question")
        silent, answers = dict(self.hospitals), 0
        while answers < len(self.hospitals):
            if time.perf_counter() - began > TIMEOUT_S:
                raise Unavailable("benchmark.timeout", "an exchange did not come to its end")
            for org, hospital in list(silent.items()):
                for letter in hospital.fetch(org):
                    hospital.acknowledge(org, letter.number)
                    hospital.post(HUB, b"answer")
                    del silent[org]
            for letter in self.hub.fetch(HUB):
                self.hub.acknowledge(HUB, letter.number)
                answers += 1
            if silent:
                time.sleep(0.002)
            else:
                self.hub.wait(LOOK_S)
        return time.perf_counter() - began

    def close(self) -> None:
        for hospital in self.hospitals.values():
            hospital.stop()
        self.hub.stop()
