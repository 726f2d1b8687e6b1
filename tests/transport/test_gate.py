"""The gate, attacked from outside with good, bad and no certificates. Behind it is a real SuperLink."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import stat
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from flwr.superlink.main import create_app

from coordinator.transport import gate as gates
from coordinator.transport.gate import MOST_BODY, OPEN, Gate
from coordinator.transport.mailbox import pem_of
from participants.transport.line import refusal
from tests.transport.pki import Authority, Paths
from tests.transport.world import COORDINATOR, World, org

FLEET = "/v1/fleet/"


def call(
    world: World,
    kit: Paths | None,
    path: str,
    *,
    method: str = "POST",
    body: bytes = b"",
    node_key: bytes | None = None,
    chunked: bool = False,
    ca: Path | None = None,
) -> tuple[int, bytes]:
    """One raw request; the path goes out exactly as it stands."""
    context = ssl.create_default_context(cafile=str(ca or world.authority.ca))
    if kit is not None:
        context.load_cert_chain(str(kit.certificate), str(kit.key))
    host, port = world.coordinator.gate.address
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=20)
    headers = {"content-type": "application/protobuf"}
    if node_key is not None:
        headers["flwr-public-key"] = base64.b64encode(pem_of(node_key)).decode()
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("host", "gate")
        for name, value in headers.items():
            connection.putheader(name, value)
        if chunked:
            connection.putheader("transfer-encoding", "chunked")
            parts = (body[i : i + 65536] for i in range(0, len(body), 65536))
            connection.endheaders(parts, encode_chunked=True)
        else:
            connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def superlink_paths() -> set[str]:
    return set(create_app().openapi()["paths"])


def test_what_is_open_exists_and_is_nothing_but_fleet() -> None:
    assert superlink_paths() >= OPEN
    assert all(path.startswith(FLEET) for path in OPEN)
    assert not OPEN & {FLEET + "register-node", FLEET + "unregister-node"}


def test_every_other_path_of_the_superlink_is_closed_even_to_a_hospital(world: World) -> None:
    closed = sorted(superlink_paths() - OPEN - {"/health"})
    assert {"/v1/control/start-run", "/v1/control/stop-run", "/v1/control/list-nodes"} <= set(closed)
    assert "/v1/runtime/acquire-task" in closed
    for path in [*closed, "/docs", "/openapi.json", "/"]:
        for method in ("POST", "GET"):
            status, body = call(world, world.kits[0], path, method=method, node_key=world.keys[0].public)
            assert (status, body) == (404, b"gate.closed"), path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fleet/../control/list-nodes",
        "/v1/fleet/%2e%2e/control/list-nodes",
        "/v1/fleet/pull-messages/../../control/list-nodes",
        "//v1/control/list-nodes",
        "/v1/fleet/pull-messages;/../x",
        "/v1/fleet/pull-messages?x=/v1/control/list-nodes",
        "/v1/fleet/pull-messages%00",
        "/V1/FLEET/PULL-MESSAGES",
        "/v1/fleet/",
        "http://superlink/v1/control/list-nodes",
        "/health/../v1/control/list-nodes",
    ],
)
def test_no_way_round_by_spelling(world: World, path: str) -> None:
    status, _ = call(world, world.kits[0], path, node_key=world.keys[0].public)
    assert status in (400, 404)


def test_health_and_fleet_are_open_to_a_hospital(world: World) -> None:
    assert call(world, world.kits[0], "/health", method="GET") == (200, b"ok\n")
    # Past the gate, Flower's own node authentication wants a signature.
    status, _ = call(world, world.kits[0], FLEET + "pull-messages", node_key=world.keys[0].public)
    assert status == 401


def test_without_a_certificate_of_the_consortium_there_is_no_http(world: World, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "other").issue("h0", f"consilium://hospital/0x{org(0).hex()}")
    expired = world.authority.issue(
        "expired", f"consilium://hospital/0x{org(0).hex()}", ends_s=-100, begins_s=-200
    )
    a_server = world.authority.issue("srv", f"consilium://hospital/0x{org(0).hex()}", server=True)
    for kit in (None, stranger, expired, a_server):
        for path in ("/health", "/v1/control/list-nodes", FLEET + "pull-messages"):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                call(world, kit, path, node_key=world.keys[0].public)


def test_another_role_is_refused(world: World) -> None:
    for role in ("sponsor", "regulator", "coordinator"):
        kit = world.kit(role, org(0), role)
        answer = call(world, kit, FLEET + "pull-messages", node_key=world.keys[0].public)
        assert answer == (401, b"gate.role")


def test_a_hospital_of_another_consortium_member_list_is_refused(world: World) -> None:
    kit = world.kit("stranger", b"\x77" * 20)
    assert call(world, kit, FLEET + "pull-messages", node_key=world.keys[0].public) == (401, b"gate.stranger")


def test_one_hospital_cannot_speak_with_anothers_node_key(world: World) -> None:
    answer = call(world, world.kits[0], FLEET + "pull-messages", node_key=world.keys[1].public)
    assert answer == (401, b"gate.node_key")
    assert call(world, world.kits[0], FLEET + "pull-messages") == (401, b"gate.node_key")


def test_names_that_are_not_exactly_one_member_are_refused(world: World) -> None:
    for name in (
        "",
        "consilium://hospital/0x00",
        "https://example.org/",
        f"consilium://hospital/0x{'A' * 40}",
    ):
        kit = world.authority.issue("odd", name)
        status, code = call(world, kit, FLEET + "pull-messages", node_key=world.keys[0].public)
        assert status == 401
        assert code in (b"certificate.malformed", b"certificate.name")


def test_a_revoked_certificate_is_refused_from_the_moment_the_list_says_so(world: World) -> None:
    kit = world.kit("gone", org(0))
    assert call(world, kit, FLEET + "get-run", node_key=world.keys[0].public)[1] != b"certificate.revoked"
    try:
        world.authority.revoke(kit.certificate)
        answer = call(world, kit, FLEET + "get-run", node_key=world.keys[0].public)
        assert answer == (401, b"certificate.revoked")
    finally:
        world.authority.revoke()


@pytest.mark.parametrize("chunked", [False, True])
def test_oversize_is_refused(world: World, chunked: bool) -> None:
    body = bytes(MOST_BODY + 1)
    try:
        answer = call(
            world,
            world.kits[0],
            FLEET + "push-object",
            body=body,
            node_key=world.keys[0].public,
            chunked=chunked,
        )
    except (ConnectionError, ssl.SSLError):
        return  # closed in our face before we could read why
    assert answer == (413, b"gate.size")


def test_a_hospital_that_is_too_fast_is_slowed_and_others_are_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "BURST", 5.0)
    monkeypatch.setattr(gates, "PER_SECOND", 1.0)
    world.coordinator.gate._lines.clear()
    codes = [
        call(world, world.kits[0], FLEET + "get-run", node_key=world.keys[0].public)[1] for _ in range(20)
    ]
    assert b"gate.too_fast" in codes
    assert call(world, world.kits[1], FLEET + "get-run", node_key=world.keys[1].public)[1] != b"gate.too_fast"
    monkeypatch.undo()
    world.coordinator.gate._lines.clear()


def test_plain_http_and_old_tls_are_not_spoken(world: World) -> None:
    address = world.coordinator.gate.address
    with socket.create_connection(address, timeout=5) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nhost: gate\r\n\r\n")
        assert b"200" not in plain.recv(100)
    context = ssl.create_default_context(cafile=str(world.authority.ca))
    context.load_cert_chain(str(world.kits[0].certificate), str(world.kits[0].key))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(address, timeout=5) as raw, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_a_body_that_crawls_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "IDLE_BODY_S", 0.3)
    context = ssl.create_default_context(cafile=str(world.authority.ca))
    context.load_cert_chain(str(world.kits[0].certificate), str(world.kits[0].key))
    key = base64.b64encode(pem_of(world.keys[0].public)).decode()
    with (
        socket.create_connection(world.coordinator.gate.address, timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as line,
    ):
        head = (
            f"POST {FLEET}get-run HTTP/1.1\r\nhost: g\r\nflwr-public-key: {key}\r\ncontent-length: 99\r\n\r\n"
        )
        line.sendall(head.encode())
        began = time.monotonic()
        assert b"408" in line.recv(100)
        assert time.monotonic() - began < 9


def test_while_the_superlink_is_away_hospitals_are_asked_to_come_again(world: World, tmp_path: Path) -> None:
    alone = Gate(
        ("127.0.0.1", 0),
        tmp_path / "nothing.sock",
        ca=world.link.ca,
        certificate=world.link.certificate,
        key=world.link.key,
        node_keys={org(0): pem_of(world.keys[0].public)},
    )
    alone.start()
    try:
        other = type("Other", (), {"gate": alone})
        elsewhere = type("Elsewhere", (), {"coordinator": other, "authority": world.authority})
        ask = (elsewhere, world.kits[0], FLEET + "get-run")
        assert call(*ask, node_key=world.keys[0].public) == (503, b"gate.not_open")  # type: ignore[arg-type]
        alone.open(True)
        assert call(*ask, node_key=world.keys[0].public) == (503, b"gate.superlink_away")  # type: ignore[arg-type]
    finally:
        alone.stop()


def _listening_ports(pid: int) -> list[str]:
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:  # the one that lists the folder
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [
        line.split()
        for kind in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()
    ]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_no_flower_process_listens_on_a_port_and_its_folder_is_private(world: World) -> None:
    superlink = world.coordinator.superlink
    assert superlink.child.pid
    assert _listening_ports(superlink.child.pid) == []
    for hospital in world.hospitals:
        assert hospital.child.pid
        assert _listening_ports(hospital.child.pid) == []
    assert _listening_ports(os.getpid())  # the gate, so that this test can fail
    folder = world.link.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("superlink.secret", "superlink.log", "spool.db"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert world.link.me == COORDINATOR


def test_a_hospital_cannot_fill_the_superlinks_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MOST_UNTAKEN", 100_000)

    def push() -> bytes:
        return call(
            world, world.kits[0], FLEET + "push-object", body=bytes(60_000), node_key=world.keys[0].public
        )[1]

    assert push() != b"gate.too_much"
    assert push() == b"gate.too_much"
    world.coordinator.gate.settled(org(0))  # the coordinator took an answer
    assert push() != b"gate.too_much"
    world.coordinator.gate.settled(org(0))


@pytest.mark.parametrize(
    ("body", "minutes", "code"),
    [
        ("gate.role", 0, "gate.role"),
        ("Invalid SuperNode authentication", 0, "transport.unknown_node"),
        ("Invalid SuperNode authentication", 30, "transport.clock_skew"),
        ("rm -rf /; gate.role", 0, "transport.unknown_node"),
        ("a." + "b" * 100, 0, "transport.unknown_node"),
    ],
)
def test_why_a_node_was_turned_away_is_read_from_the_answer(body: str, minutes: int, code: str) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    assert refusal(httpx.Response(401, text=body, headers={"date": at})) == code
