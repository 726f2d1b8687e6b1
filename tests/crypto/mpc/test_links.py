"""The links between members, and who tries to get in between."""

import os
import secrets
import signal
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest

from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable
from crypto.certificates import Revocations
from crypto.mpc.handshake import Credentials, Session
from crypto.mpc.links import Links
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
        if kind == "announced":
            links._out[0].sendall((1 << 40).to_bytes(8, "big"))
        elif kind == "short":
            links.send(0, b"four")
        else:
            links._out[0].sendall((100).to_bytes(8, "big") + b"half")
            links.abort()
            return None
        time.sleep(5)
    if seat.rank == 0:
        return links.receive(1, 5)
    return None


@pytest.mark.parametrize(
    ("kind", "code"), [("announced", "mpc.frame"), ("short", "mpc.frame"), ("half", "mpc.peer_lost")]
)
def test_frames_that_lie(committee: Committee, kind, code):
    with committee.started(lie_about_frames, kind, timeout_s=4) as jobs:
        error = outcome(jobs[0])
    assert error.code == code
    assert committee.orgs[1].hex() in str(error)


def test_links_over_anything_but_tls_are_refused():
    orgs = tuple(bytes([r]) * 20 for r in range(3))
    pairs = [socket.socketpair() for _ in range(4)]
    with pytest.raises(Refused) as e:
        Links(
            Session(0, orgs, bytes(32)),
            {1: pairs[0][0], 2: pairs[1][0]},
            {1: pairs[2][0], 2: pairs[3][0]},
            timeout_s=1,
        )
    assert e.value.code == "mpc.plaintext_link"
    for pair in pairs:
        for end in pair:
            end.close()


class Alone:
    """One honest member that waits, in this process, for two who are played here."""

    def __init__(self, committee: Committee, timeout_s: float = 3) -> None:
        self.committee = committee
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.session = Session(0, committee.orgs, secrets.token_bytes(32))
        self.servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.outcome: Error | Links | None = None
        self.thread = threading.Thread(target=self._wait, args=(timeout_s,))
        self.thread.start()

    def _wait(self, timeout_s: float) -> None:
        addresses = [self.address, *(server.getsockname() for server in self.servers)]
        try:
            self.outcome = Links.connect(
                self.session,
                addresses,
                self.listener,
                self.committee.seats[0].credentials,
                timeout_s=timeout_s,
            )
        except Error as error:
            self.outcome = error

    def knock(self, credentials: Credentials, hello: bytes) -> bytes:
        """What the member answers to a guest with these papers."""
        context = credentials.context(ssl.PROTOCOL_TLS_CLIENT)
        try:
            raw = socket.create_connection(self.address, timeout=2)
            with context.wrap_socket(raw) as tls:
                tls.sendall(hello)
                return tls.recv(1000)
        except OSError:
            return b""

    def end(self) -> Error | Links | None:
        self.thread.join()
        for server in self.servers:
            server.close()
        return self.outcome


def papers(committee: Committee, authority: Authority, role: str, org: bytes, **how) -> Credentials:
    folder = committee.folder / secrets.token_hex(4)
    return Credentials(**authority.issue(role, org, uses=[SERVER, CLIENT], **how).files(folder))


def test_only_pinned_members_of_this_session_get_in(committee: Committee, authority: Authority):
    alone = Alone(committee)
    one, two = committee.orgs[1], committee.orgs[2]
    good = alone.session.hello(1, 0)
    strangers = {
        "a hospital": papers(committee, authority, "hospital", one),
        "another committee's member": papers(committee, authority, "committee", secrets.token_bytes(20)),
        "another authority": papers(committee, Authority(), "committee", one),
        "two names": papers(
            committee,
            authority,
            "committee",
            one,
            names=[f"consilium://committee/0x{o.hex()}" for o in (one, two)],
        ),
    }
    for who, credentials in strangers.items():
        assert alone.knock(credentials, good) == b"", who
    member = committee.seats[1].credentials
    assert alone.knock(member, replace(alone.session, name=bytes(32)).hello(1, 0)) == b""
    assert alone.knock(member, alone.session.hello(2, 0)) == b""  # its papers, another's name
    assert alone.knock(committee.seats[0].credentials, alone.session.hello(0, 0)) == b""  # itself
    assert alone.knock(member, good) == alone.session.hello(0, 1)  # and the door does open
    found = alone.end()
    assert isinstance(found, Unavailable)
    assert found.code == "mpc.silent_peer"


def test_plain_text_at_the_door_disturbs_nobody(committee: Committee):
    alone = Alone(committee)
    idle = [socket.create_connection(alone.address) for _ in range(5)]
    for noise in (b"GET / HTTP/1.1\r\n\r\n", alone.session.hello(1, 0), bytes(100)):
        with socket.create_connection(alone.address, timeout=2) as raw:
            raw.sendall(noise)
    assert alone.knock(committee.seats[1].credentials, alone.session.hello(1, 0)) == alone.session.hello(0, 1)
    for raw in idle:
        raw.close()
    assert isinstance(alone.end(), Unavailable)


def impostor(server: socket.socket, credentials: Credentials) -> None:
    context = credentials.context(ssl.PROTOCOL_TLS_SERVER)
    server.settimeout(3)
    try:
        raw, _ = server.accept()
        with context.wrap_socket(raw, server_side=True) as tls:
            tls.recv(1000)
    except OSError:
        pass


@pytest.mark.parametrize("who", ["another member", "another authority", "coordinator"])
def test_an_impostor_at_a_members_address_is_found_out(committee: Committee, authority: Authority, who):
    alone = Alone(committee)
    shown = {
        "another member": committee.seats[2].credentials,
        "another authority": papers(committee, Authority(), "committee", committee.orgs[1]),
        "coordinator": papers(committee, authority, "coordinator", committee.orgs[1]),
    }[who]
    server = threading.Thread(target=impostor, args=(alone.servers[0], shown))
    server.start()
    found = alone.end()
    server.join()
    assert isinstance(found, Hostile)
    assert found.code == "mpc.peer_identity"


@pytest.mark.slow
def test_a_revoked_member_is_kept_out(committee: Committee, authority: Authority):
    file = committee.folder / "revoked.pem"
    papers_of_one = authority.issue("committee", committee.orgs[1], uses=[SERVER, CLIENT])
    file.write_bytes(authority.revocations(papers_of_one.serial))
    credentials = replace(committee.seats[0].credentials, revocations=Revocations(file, authority.pem))
    committee.seats[0] = replace(committee.seats[0], credentials=credentials)
    alone = Alone(committee, timeout_s=2)
    revoked = Credentials(**papers_of_one.files(committee.folder / "revoked"))
    assert alone.knock(revoked, alone.session.hello(1, 0)) == b""
    assert alone.knock(committee.seats[1].credentials, alone.session.hello(1, 0)) != b""
    alone.end()


def too_much(links: Links, seat: Seat):
    if seat.rank == 0:
        links.send(1, bytes((1 << 28) + 1))


def test_a_frame_beyond_the_limit_is_not_sent(committee: Committee):
    assert codes(committee.play(too_much))[0] == "mpc.frame"


def test_unreadable_papers_are_named(committee: Committee, tmp_path):
    with pytest.raises(Misuse) as e:
        Credentials(tmp_path / "no", tmp_path / "no", tmp_path / "no").context(ssl.PROTOCOL_TLS_CLIENT)
    assert e.value.code == "mpc.credentials"
