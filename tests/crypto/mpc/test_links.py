"""The links between members, and who tries to get in between."""

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest

from consilium_errors import Error, Misuse, Unavailable
from crypto.certificates import Revocations
from crypto.mpc.handshake import Credentials, Session, host_of
from crypto.mpc.links import SESSION, Links
from tests.api.pki import CLIENT, SERVER, Authority
from tests.crypto.mpc.stand import Committee, Seat, codes, outcome


def talk(links: Links, seat: Seat):
    found = links.exchange(bytes([seat.rank]) * 5)
    big = bytes([seat.rank]) * (3 << 20)
    links.send((seat.rank + 1) % 3, big)
    received = links.receive((seat.rank - 1) % 3, len(big))
    links.barrier()
    return found, received[0], len(set(received))


def test_members_hear_each_other(committee: Committee):
    for rank, (found, first, kinds) in enumerate(committee.play(talk)):
        assert found == {r: bytes([r]) * 5 for r in range(3)}
        assert (first, kinds) == ((rank - 1) % 3, 1)


def wait_for_all(links: Links, seat: Seat):
    links.barrier()
    seat.ready()
    if seat.rank == 2:
        time.sleep(60)
    return links.exchange(b"x")


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGSTOP, "mpc.silent_peer"), (signal.SIGKILL, "mpc.peer_lost")]
)
def test_a_peer_that_stops_is_named_in_time(committee: Committee, how, code):
    with committee.started(wait_for_all, timeout_s=3) as jobs:
        for seat in committee.seats:
            seat.wait_until_ready()
        begin = time.monotonic()
        os.kill(jobs[2].pid, how)
        found = [outcome(job) for job in jobs[:2]]
    assert time.monotonic() - begin < 10
    for error in found:
        # the first to give up leaves, and the other may notice that before its own wait is over
        assert isinstance(error, Unavailable)
        assert not isinstance(error, RuntimeError)
        assert error.code in (code, "mpc.peer_lost")
    named = [e for e in found if e.code == code and committee.orgs[2].hex() in str(e)]
    assert named


def deaf(links: Links, seat: Seat):
    links.barrier()
    seat.ready()
    if seat.rank == 0:
        while True:
            links.send(2, bytes(1 << 20))
    time.sleep(30)


@pytest.mark.slow
def test_a_peer_that_takes_nothing_is_named(committee: Committee):
    with committee.started(deaf, timeout_s=3) as jobs:
        committee.seats[2].wait_until_ready()
        os.kill(jobs[2].pid, signal.SIGSTOP)
        error = outcome(jobs[0])
    assert error.code == "mpc.silent_peer"
    assert committee.orgs[2].hex() in str(error)


def lie_about_frames(links: Links, seat: Seat, kind: str):
    links.barrier()
    if seat.rank == 1:
        if kind == "short":
            links.send(0, b"four")
            time.sleep(5)
        else:
            links.abort()
    if seat.rank == 0:
        return links.receive(1, 5)
    return None


@pytest.mark.parametrize(("kind", "code"), [("short", "mpc.frame"), ("none", "mpc.peer_lost")])
def test_frames_that_lie(committee: Committee, kind, code):
    with committee.started(lie_about_frames, kind, timeout_s=4) as jobs:
        error = outcome(jobs[0])
    assert error.code == code
    assert committee.orgs[1].hex() in str(error)


def free_port() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


class Alone:
    """One honest member that waits, in this process, for two who are played here."""

    def __init__(self, committee: Committee, timeout_s: float = 3) -> None:
        self.committee = committee
        self.addresses = [free_port() for _ in range(3)]
        self.session = Session(0, committee.orgs, secrets.token_bytes(32))
        self.outcome: Error | Links | None = None
        self.thread = threading.Thread(target=self._wait, args=(timeout_s,))
        self.thread.start()

    def _wait(self, timeout_s: float) -> None:
        try:
            self.outcome = Links.connect(
                self.session,
                self.addresses,
                self.committee.seats[0].credentials,
                timeout_s=timeout_s,
                frame_limit=1 << 16,
            )
        except Error as error:
            self.outcome = error

    def knock(self, credentials: Credentials | None, hello: bytes, frame: bytes = b"") -> str:
        """What the member does with a guest with these papers: welcome, or the status of the call."""
        target = "{}:{}".format(*self.addresses[0])
        options = [("grpc.ssl_target_name_override", host_of(self.committee.orgs[0]))]
        if credentials is None:
            channel = grpc.insecure_channel(target)
        else:
            certificate, key = credentials.certificate.read_bytes(), credentials.key.read_bytes()
            secure = grpc.ssl_channel_credentials(self.committee.authority.pem, key, certificate)
            channel = grpc.secure_channel(target, secure, options=options)
        with channel:
            frames = channel.stream_stream("/consilium.mpc.Mesh/Frames")
            call = frames(iter([frame] * bool(frame)), metadata=((SESSION, hello),), timeout=2)
            try:
                answer = next(call).decode()
                return answer if not frame else call.code().name
            except grpc.RpcError as error:
                return error.code().name

    def up(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(self.addresses[0], timeout=1):
                return
            time.sleep(0.02)

    def end(self) -> Error | Links | None:
        self.thread.join()
        return self.outcome


def papers(committee: Committee, authority: Authority, role: str, org: bytes, **how) -> Credentials:
    folder = committee.folder / secrets.token_hex(4)
    return Credentials(**authority.issue(role, org, uses=[SERVER, CLIENT], **how).files(folder))


def test_only_pinned_members_of_this_session_get_in(committee: Committee, authority: Authority):
    alone = Alone(committee, timeout_s=8)
    alone.up()
    one, two = committee.orgs[1], committee.orgs[2]
    good = alone.session.hello(1, 0)
    strangers = {
        "a hospital": (papers(committee, authority, "hospital", one), "FAILED_PRECONDITION"),
        "another committee's member": (
            papers(committee, authority, "committee", secrets.token_bytes(20)),
            "FAILED_PRECONDITION",
        ),
        "another authority": (papers(committee, Authority(), "committee", one), "UNAVAILABLE"),
        "two names": (
            papers(
                committee,
                authority,
                "committee",
                one,
                names=[f"consilium://committee/0x{o.hex()}" for o in (one, two)],
            ),
            "FAILED_PRECONDITION",
        ),
        "nobody": (None, "UNAVAILABLE"),
    }
    for who, (credentials, status) in strangers.items():
        assert alone.knock(credentials, good) == status, who
    member = committee.seats[1].credentials
    refused = "FAILED_PRECONDITION"
    assert alone.knock(member, replace(alone.session, name=bytes(32)).hello(1, 0)) == refused
    assert alone.knock(member, alone.session.hello(2, 0)) == refused  # its papers, another's name
    assert alone.knock(committee.seats[0].credentials, alone.session.hello(0, 0)) == refused  # itself
    assert alone.knock(member, good) == "welcome"  # and the door does open
    assert alone.knock(member, good) == refused  # once
    found = alone.end()
    assert isinstance(found, Unavailable)
    assert found.code == "mpc.silent_peer"


def test_plain_text_at_the_door_disturbs_nobody(committee: Committee):
    alone = Alone(committee, timeout_s=6)
    alone.up()
    idle = [socket.create_connection(alone.addresses[0]) for _ in range(5)]
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(100)):
        with socket.create_connection(alone.addresses[0], timeout=2) as raw:
            raw.sendall(noise)
    assert alone.knock(committee.seats[1].credentials, alone.session.hello(1, 0)) == "welcome"
    for raw in idle:
        raw.close()
    assert isinstance(alone.end(), Unavailable)


def test_a_frame_beyond_the_limit_is_not_taken(committee: Committee):
    alone = Alone(committee)
    alone.up()
    member, good = committee.seats[1].credentials, alone.session.hello(1, 0)
    assert alone.knock(member, good, frame=bytes((1 << 16) + 1)) == "RESOURCE_EXHAUSTED"
    alone.end()


class Impostor:
    """A server that would take frames, at a member's address."""

    def __init__(self, address: tuple[str, int], credentials: Credentials) -> None:
        self.streams = 0

        def frames(requests, context):
            self.streams += 1
            yield b"welcome"

        handler = grpc.stream_stream_rpc_method_handler(frames)
        self.server = grpc.server(
            ThreadPoolExecutor(2),
            handlers=[grpc.method_handlers_generic_handler("consilium.mpc.Mesh", {"Frames": handler})],
        )
        ca, certificate, key = (
            path.read_bytes() for path in (credentials.ca, credentials.certificate, credentials.key)
        )
        secure = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
        self.server.add_secure_port("{}:{}".format(*address), secure)
        self.server.start()


@pytest.mark.parametrize("who", ["the member", "another member", "another authority", "coordinator"])
def test_an_impostor_at_a_members_address_hears_nothing(committee: Committee, authority: Authority, who):
    alone = Alone(committee, timeout_s=2)
    shown = {
        "the member": committee.seats[1].credentials,
        "another member": committee.seats[2].credentials,
        "another authority": papers(committee, Authority(), "committee", committee.orgs[1]),
        "coordinator": papers(committee, authority, "coordinator", committee.orgs[1]),
    }[who]
    impostor = Impostor(alone.addresses[1], shown)
    found = alone.end()
    impostor.server.stop(0)
    assert isinstance(found, Unavailable)
    assert impostor.streams == (who == "the member")


@pytest.mark.slow
def test_a_revoked_member_is_kept_out(committee: Committee, authority: Authority):
    file = committee.folder / "revoked.pem"
    papers_of_one = authority.issue("committee", committee.orgs[1], uses=[SERVER, CLIENT])
    file.write_bytes(authority.revocations(papers_of_one.serial))
    credentials = replace(committee.seats[0].credentials, revocations=Revocations(file, authority.pem))
    committee.seats[0] = replace(committee.seats[0], credentials=credentials)
    alone = Alone(committee, timeout_s=5)
    alone.up()
    revoked = Credentials(**papers_of_one.files(committee.folder / "revoked"))
    assert alone.knock(revoked, alone.session.hello(1, 0)) == "FAILED_PRECONDITION"
    assert alone.knock(committee.seats[1].credentials, alone.session.hello(1, 0)) == "welcome"
    alone.end()


def too_much(links: Links, seat: Seat):
    if seat.rank == 0:
        links.send(1, bytes((1 << 28) + 1))


def test_a_frame_beyond_the_limit_is_not_sent(committee: Committee):
    assert codes(committee.play(too_much))[0] == "mpc.frame"


def test_unreadable_papers_are_named(committee: Committee, tmp_path):
    with pytest.raises(Misuse) as e:
        Credentials(tmp_path / "no", tmp_path / "no", tmp_path / "no").read()
    assert e.value.code == "mpc.credentials"
