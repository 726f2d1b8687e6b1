"""Who gets in: expired, foreign, revoked, nameless and posing certificates, against the real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from consilium_errors import Misuse, Refused, Unavailable
from coordinator.client.connection import Connection
from coordinator.client.errors import from_rpc
from coordinator.server import Server, ServerConfig
from crypto import certificates
from crypto.certificates import Revocations, uri
from protos.consilium.v1 import services_pb2 as api
from tests.api.pki import CLIENT, DAY, Authority, Papers
from tests.api.stand import Stand

STRANGER = b"\x99" * 20


def refusal(stand: Stand, papers: Papers) -> tuple[str, grpc.StatusCode]:
    """What a caller with these papers is told by a stub without any care of its own."""
    with pytest.raises(grpc.RpcError) as caught:
        stand.raw(papers).List(api.ListRequest(), timeout=5)
    return from_rpc(caught.value).code, caught.value.code()


@pytest.fixture(autouse=True)
def _nobody_is_revoked(stand: Stand) -> Iterator[None]:
    yield
    stand.revoked.write_bytes(stand.authority.revocations())


def test_a_member_gets_in(stand: Stand) -> None:
    stand.raw(stand.papers("sponsor")).List(api.ListRequest(), timeout=5)


@pytest.mark.parametrize("window", [(-10 * DAY, -DAY), (DAY, 2 * DAY)], ids=["expired", "not yet valid"])
def test_outside_its_time(stand: Stand, window: tuple[timedelta, timedelta]) -> None:
    papers = stand.papers("sponsor", begins=window[0], ends=window[1])
    assert refusal(stand, papers) == ("api.unreachable", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Misuse) as at_home:
        stand.client(papers=papers)
    assert at_home.value.code == "certificate.expired"
    assert at_home.value.remedy


def test_another_authority(stand: Stand) -> None:
    """The same names, signed by somebody else; the attacker knows and trusts our public CA certificate."""
    forged = Authority().issue("sponsor", stand.org("sponsor"))
    papers = Papers(stand.authority.pem, forged.certificate, forged.key)
    assert refusal(stand, papers) == ("api.unreachable", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Misuse) as at_home:
        stand.client(papers=papers)
    assert at_home.value.code == "certificate.foreign"


def test_no_certificate_at_all(stand: Stand) -> None:
    credentials = grpc.ssl_channel_credentials(stand.authority.pem)
    with grpc.secure_channel(stand.target, credentials) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/consilium.v1.StudyService/List")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_no_tls_at_all(stand: Stand) -> None:
    with grpc.insecure_channel(stand.target) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/consilium.v1.StudyService/List")(b"", timeout=2)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_revoked_while_connected(stand: Stand) -> None:
    """The connection stays; the next call on it is refused, and so is an open stream's next word."""
    papers = stand.papers("sponsor")
    stub = stand.raw(papers)
    stub.List(api.ListRequest(), timeout=5)
    study = stand.client().submit(stand.spec("revoked")).id
    stream = stub.Watch(api.WatchRequest(study=study), timeout=20)
    next(stream)
    stand.revoked.write_bytes(stand.authority.revocations(papers.serial))
    stand.client().start(study)  # another certificate of the same sponsor; the stream has news
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert from_rpc(caught.value).code == "certificate.revoked"
    with pytest.raises(grpc.RpcError) as caught:
        stub.List(api.ListRequest(), timeout=5)
    error = from_rpc(caught.value)
    assert (error.code, type(error)) == ("certificate.revoked", Refused)
    assert error.remedy
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_list_that_is_not_the_authoritys_changes_nothing(stand: Stand, tmp_path: Path) -> None:
    papers, path = stand.papers("sponsor"), tmp_path / "revoked.pem"
    path.write_bytes(stand.authority.revocations(papers.serial))
    lists = Revocations(path, stand.authority.pem)
    member = certificates.member_of(papers.certificate)
    for forged in (
        Authority().revocations(),
        b"",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    ):
        path.write_bytes(forged)
        with pytest.raises(Refused, match="revoked"):
            lists.check(member)
    path.unlink()
    with pytest.raises(Refused, match="revoked"):
        lists.check(member)
    path.write_bytes(stand.authority.revocations())
    lists.check(member)


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_no_list_no_server(stand: Stand, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "revoked.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misuse) as caught:
        Revocations(path, stand.authority.pem)
    assert caught.value.code == "certificate.list"


@pytest.mark.parametrize(
    "names",
    [
        [],
        [uri("sponsor", STRANGER), uri("hospital", STRANGER)],
        ["consilium://admin/0x" + "99" * 20],
        ["consilium://sponsor/0x" + "9" * 39],
        ["consilium://sponsor/0x" + "AB" * 20],
        [uri("sponsor", STRANGER) + "/"],
        ["https://sponsor/0x" + "99" * 20],
    ],
    ids=["none", "two", "no such role", "short", "another spelling", "longer", "another scheme"],
)
def test_names_that_are_no_member(stand: Stand, names: list[str]) -> None:
    papers = stand.authority.issue("sponsor", STRANGER, names=names)
    assert refusal(stand, papers) == ("certificate.name", grpc.StatusCode.UNAUTHENTICATED)


def test_a_serving_certificate_does_not_call(stand: Stand) -> None:
    """Extended key usage is checked on both sides."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    papers = stand.papers("sponsor", uses=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert refusal(stand, papers) == ("api.unreachable", grpc.StatusCode.UNAVAILABLE)


def test_a_hospital_cannot_pose_as_the_coordinator(stand: Stand) -> None:
    """Its certificate may only call. A sponsor led to its address finds nobody."""
    hospital = stand.papers("hospital", uses=[CLIENT])
    server = grpc.server(__import__("concurrent.futures").futures.ThreadPoolExecutor(1))
    credentials = grpc.ssl_server_credentials(
        [(hospital.key, hospital.certificate)], root_certificates=hospital.ca, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    papers = stand.papers("sponsor")
    connection = Connection(
        f"127.0.0.1:{port}",
        ca=papers.ca,
        certificate=papers.certificate,
        key=papers.key,
        deadline_s=3,
        patience_s=0.5,
    )
    with pytest.raises(Unavailable) as caught:
        connection.ask(connection.studies.List, api.ListRequest(), api.ListResponse)
    assert caught.value.code in ("api.unreachable", "api.late")
    assert caught.value.remedy
    connection.close()
    server.stop(None)


def test_a_server_does_not_start_with_anothers_papers(stand: Stand, tmp_path: Path) -> None:
    for papers in (stand.papers("hospital"), stand.authority.issue("coordinator", STRANGER)):
        files = papers.files(tmp_path / "kit")
        with pytest.raises(Misuse) as caught:
            Server(stand.council.coordinator, ServerConfig("127.0.0.1:0", **files))
        assert caught.value.code == "server.role"


def test_a_taken_address_is_named(stand: Stand, tmp_path: Path) -> None:
    files = stand.papers("coordinator").files(tmp_path / "kit")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Misuse) as caught:
            Server(stand.council.coordinator, ServerConfig(listen, **files))
    assert caught.value.code == "server.address"


def test_own_files_that_do_not_fit(stand: Stand) -> None:
    one, other = stand.papers("sponsor"), stand.papers("sponsor")
    for papers, code in (
        (Papers(one.ca, one.certificate, other.key), "certificate.key"),
        (Papers(one.ca, b"nonsense", one.key), "certificate.malformed"),
        (Papers(one.ca, one.certificate, b""), "certificate.malformed"),
    ):
        with pytest.raises(Misuse) as caught:
            stand.client(papers=papers)
        assert caught.value.code == code
    with pytest.raises(Misuse) as caught:
        Connection(stand.target, ca=Path("/nowhere"), certificate=one.certificate, key=one.key)
    assert caught.value.code == "certificate.missing"


def test_a_renewed_server_certificate_needs_no_restart(stand: Stand) -> None:
    """The next connection meets the new one; half-written files change nothing."""
    folder = stand.config.key.parent
    before = _served(stand)
    renewed = stand.papers("coordinator")
    stand.config.key.write_bytes(renewed.key)  # fits the old certificate no more
    assert _served(stand) == before
    renewed.files(folder)
    assert _served(stand) == renewed.serial != before
    stand.papers("hospital").files(folder)  # another's kit, by mistake
    assert _served(stand) == renewed.serial
    renewed.files(folder)


def _served(stand: Stand) -> int:
    import ssl

    from cryptography import x509

    context = ssl.create_default_context(cadata=stand.authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    host, port = stand.target.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"").serial_number
