"""The mailbox that a kit names, running for as long as the ``with`` block lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from consilium_errors import Misuse
from deploy.kit import CommitteeKit, CoordinatorKit, HospitalKit
from deploy.provision.kits import NODES
from protos.mailbox import FileMailbox, Mailbox


@contextmanager
def for_hospital(kit: HospitalKit | CommitteeKit) -> Iterator[Mailbox]:
    """Also for a committee member. Raises Misuse ``transport.file``, ``kit.fleet``."""
    its = kit.config
    if its.transport.kind == "file":
        with _file(kit) as mailbox:
            yield mailbox
        return
    from participants.transport.mailbox import NodeConfig, NodeMailbox

    if its.coordinator.fleet is None:
        raise Misuse("kit.fleet", "coordinator.fleet is missing in consilium.toml", "provision the kit again")
    home = kit.folder.resolve()
    node = NodeMailbox(
        NodeConfig(
            folder=kit.state.resolve() / "wire",
            server=its.coordinator.fleet,
            ca=home / "ca.pem",
            certificate=home / "tls.pem",
            key=home / "tls.key",
            node_key=home / "node.key",
            org=its.organisation,
            coordinator=its.coordinator.address,
        )
    )
    try:
        node.start()
        yield node
    finally:
        node.stop()


@contextmanager
def for_coordinator(kit: CoordinatorKit) -> Iterator[Mailbox]:
    """Raises Misuse ``kit.fleet``, ``transport.*``. Unavailable: ``transport.*``."""
    its = kit.config
    if its.transport.kind == "file":
        with _file(kit) as mailbox:
            yield mailbox
        return
    from coordinator.transport.mailbox import FlowerMailbox, LinkConfig

    if its.serve.fleet_listen is None:
        raise Misuse(
            "kit.fleet", "serve.fleet_listen is missing in consilium.toml", "provision the kit again"
        )
    host, _, port = its.serve.fleet_listen.rpartition(":")
    link = FlowerMailbox(
        LinkConfig(
            folder=kit.state.resolve() / "wire",
            listen=(host, int(port)),
            ca=kit.ca,
            certificate=kit.certificate,
            key=kit.key,
            me=its.organisation,
            node_keys=node_keys(kit),
            revocations=kit.below("revoked.pem"),
        )
    )
    try:
        link.start()
        yield link
    finally:
        link.stop()


def node_keys(kit: CoordinatorKit) -> dict[bytes, bytes]:
    """The wire key of each hospital and committee member, from nodes/0x….pub.

    Raises:
        Misuse: ``kit.nodes`` for one of [sites] or [members] without one.
    """
    found = {}
    for name, org in {**kit.config.sites, **kit.config.members}.items():
        try:
            found[org] = kit.below(f"{NODES}/0x{org.hex()}.pub").read_bytes().strip()
        except OSError:
            raise Misuse(
                "kit.nodes",
                f"the wire key of {name} is not in {NODES}/",
                "copy its node.pub there, or provision",
            ) from None
    return found


@contextmanager
def _file(kit: HospitalKit | CoordinatorKit | CommitteeKit) -> Iterator[FileMailbox]:
    path = kit.below(kit.config.transport.path)
    if not path.parent.is_dir():
        raise Misuse("kit.transport", f"there is no folder {path.parent}", "mend transport.path")
    mailbox = FileMailbox(path)
    try:
        yield mailbox
    finally:
        mailbox.close()
