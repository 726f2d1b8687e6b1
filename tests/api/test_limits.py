"""Too much, too large, too long, unreadable: each a code abroad; and no text of ours ever crosses."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import structlog

from consilium_errors import Hostile, Misuse, Refused, Unavailable
from coordinator import logs
from coordinator.api.limits import Limits, Meter
from coordinator.client import Phase
from coordinator.client.errors import from_rpc
from protos.consilium.v1 import round_pb2 as pb
from protos.consilium.v1 import services_pb2 as api
from tests.api.stand import Stand

LIST = "/consilium.v1.StudyService/List"
TIGHT = Limits(message_bytes=64 << 10, calls_per_s=0.5, burst=12, in_flight=3, stream_s=0.6)


@pytest.fixture(scope="module")
def tight(chain_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder: Path = tmp_path_factory.mktemp("tight")
    folder.chmod(0o700)
    made = Stand(folder, chain_url, limits=TIGHT)
    yield made
    made.close()


def failure(call: grpc.RpcError) -> tuple[str, grpc.StatusCode]:
    return from_rpc(call).code, call.code()  # type: ignore[attr-defined]


def test_unreadable_bytes(stand: Stand) -> None:
    channel = stand.channel(stand.papers("sponsor"))
    for path, kind in (
        (LIST, channel.unary_unary),
        ("/consilium.v1.StudyService/Watch", channel.unary_stream),
    ):
        for body in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x07"):
            with pytest.raises(grpc.RpcError) as caught:
                list(kind(path)(body, timeout=5))
            assert failure(caught.value) == ("api.malformed", grpc.StatusCode.INVALID_ARGUMENT)
            assert caught.value.details() == "api.malformed"
            assert isinstance(from_rpc(caught.value), Hostile)


def test_an_offer_with_what_we_do_not_know(stand: Stand) -> None:
    """Unknown fields would make two encodings of one study."""
    study = stand.client().submit(stand.spec("fields"))
    known = pb.StudyOffer(
        study=study.id, spec=stand.spec("fields").canonical(), sponsor_key=stand.council.sponsor_key
    )
    extended = known.SerializeToString() + b"\xf2\x3f\x01x"
    body = b"\x0a" + _varint(len(extended)) + extended
    channel = stand.channel(stand.papers("sponsor"))
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/consilium.v1.StudyService/Submit")(body, timeout=5)
    assert failure(caught.value) == ("wire.not_canonical", grpc.StatusCode.INVALID_ARGUMENT)


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80, value >> 7]) if value > 127 else bytes([value])


def test_oversize_is_named_at_home_and_refused_abroad(stand: Stand) -> None:
    big = api.SubmitRequest(offer=pb.StudyOffer(study=b"\1" * 32, spec=b"x" * (3 << 20)))
    connection = stand.connection(stand.papers("sponsor"))
    with pytest.raises(Misuse) as at_home:
        connection.ask(connection.studies.Submit, big, api.Study)
    assert at_home.value.code == "api.too_large"
    with pytest.raises(grpc.RpcError) as abroad:
        stand.raw(stand.papers("sponsor")).Submit(big, timeout=5)
    assert failure(abroad.value) == ("api.limit", grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_a_call_without_a_deadline(stand: Stand) -> None:
    stub = stand.raw(stand.papers("sponsor"))
    with pytest.raises(grpc.RpcError) as caught:
        stub.List(api.ListRequest())
    assert failure(caught.value) == ("api.deadline", grpc.StatusCode.INVALID_ARGUMENT)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Watch(api.WatchRequest(study=b"\1" * 32)))
    assert failure(caught.value)[0] == "api.deadline"


@pytest.mark.slow
def test_a_longer_call_than_we_serve_is_cut(chain_url: str, tmp_path: Path) -> None:
    """A reflection stream that its client never ends would keep a thread for ever."""
    tmp_path.chmod(0o700)
    stand = Stand(tmp_path, chain_url, limits=Limits(longest_s=0.5))
    try:
        channel = stand.channel(stand.papers("sponsor"))
        stream = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            list(stream(_for_ever(), timeout=30))
        assert caught.value.code() is grpc.StatusCode.CANCELLED
    finally:
        stand.close()


def _for_ever() -> Iterator[bytes]:
    import threading

    threading.Event().wait(20)
    yield b""


def test_too_many_calls(tight: Stand) -> None:
    """The bucket is the organisation's, whichever certificate it calls with; others are not touched."""
    codes = []
    for _ in range(8):
        stub = tight.raw(tight.papers("hospital", "a"))
        for _ in range(2):
            try:
                stub.List(api.ListRequest(), timeout=5)
            except grpc.RpcError as error:
                codes.append(failure(error))
    assert set(codes) == {("api.rate", grpc.StatusCode.RESOURCE_EXHAUSTED)}
    assert 1 <= len(codes) <= 4
    tight.raw(tight.papers("hospital", "b")).List(api.ListRequest(), timeout=5)


def test_too_many_open_calls(stand: Stand) -> None:
    most = Limits().in_flight
    study = stand.client().submit(stand.spec("streams")).id
    stub = stand.raw(stand.papers("sponsor"))
    streams = [stub.Watch(api.WatchRequest(study=study), timeout=30) for _ in range(most)]
    for stream in streams:
        next(stream)
    with pytest.raises(grpc.RpcError) as caught:
        stub.List(api.ListRequest(), timeout=5)
    assert failure(caught.value) == ("api.busy", grpc.StatusCode.RESOURCE_EXHAUSTED)
    stand.raw(stand.papers("hospital")).List(api.ListRequest(), timeout=5)
    for stream in streams:
        stream.cancel()
    stand.wait(lambda: _listed(stub), 5)


def _listed(stub: object) -> bool:
    try:
        stub.List(api.ListRequest(), timeout=5)  # type: ignore[attr-defined]
    except grpc.RpcError:
        return False
    return True


def test_a_watch_ends_by_itself_and_is_taken_up_again(tight: Stand) -> None:
    client = tight.client()
    study = client.submit(tight.spec("patient"))
    assert (
        len(list(tight.raw(tight.papers("sponsor")).Watch(api.WatchRequest(study=study.id), timeout=9))) == 1
    )
    events = study.watch()
    first, second = next(events), next(events)  # the second comes from another stream
    assert first == second


def test_the_meter_refills() -> None:
    now = 0.0
    meter = Meter(Limits(calls_per_s=2.0, burst=2), clock=lambda: now)
    for _ in range(2):
        with meter.call(b"a"):
            pass
    with pytest.raises(Refused, match="too many calls"), meter.call(b"a"):
        pass
    now = 0.5
    with meter.call(b"a"):
        pass
    now = 1e6  # never more than the burst
    for _ in range(2):
        with meter.call(b"a"):
            pass
    with pytest.raises(Refused), meter.call(b"a"):
        pass


def test_what_we_did_not_foresee_stays_here(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A fault with a secret in its text: the caller gets a code, the log the text."""
    before = structlog.get_config()
    path = tmp_path / "log.jsonl"

    def broken(*_: object) -> None:
        raise RuntimeError("/srv/private/path: secret value 4711")

    with path.open("w", encoding="utf-8") as stream:
        logs.configure(stream)
        try:
            monkeypatch.setattr("coordinator.api.board.Board.page", broken)
            with pytest.raises(grpc.RpcError) as caught:
                stand.raw(stand.papers("sponsor")).List(api.ListRequest(), timeout=5)
        finally:
            structlog.configure(**before)
    assert failure(caught.value) == ("api.internal", grpc.StatusCode.INTERNAL)
    assert isinstance(from_rpc(caught.value), Unavailable)
    abroad = repr(caught.value.details()) + repr(caught.value.trailing_metadata())
    assert "4711" not in abroad
    assert "RuntimeError" not in abroad
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert any("4711" in json.dumps(line) for line in lines)
    called = next(line for line in lines if line["event"] == "call")
    assert (called["method"], called["code"], called["role"]) == (LIST, "api.internal", "sponsor")


def test_a_log_that_cannot_be_written_stops_nobody(stand: Stand) -> None:
    """A full disk: calls are answered, and the loop goes on."""
    before = structlog.get_config()
    try:
        with suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:
            logs.configure(full)
            stand.client().list()
        structlog.configure(**{**before, "logger_factory": structlog.WriteLoggerFactory(file=full)})
        stand.client().list()  # a logger that raises
        with pytest.raises(Misuse) as caught:
            stand.client().get(b"\1" * 32)
        assert caught.value.code == "study.unknown"
        time.sleep(0.1)
    finally:
        structlog.configure(**before)
    assert stand.client().submit(stand.spec("after")).get().phase is Phase.OFFERED


def test_logs_keep_what_is_secret_to_themselves(tmp_path: Path) -> None:
    before, path = structlog.get_config(), tmp_path / "log.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        logs.configure(stream)
        structlog.get_logger().info("x", sponsor_secret="4711", hpke_key=b"4711", body=b"4711", code="a.b")
        structlog.configure(**before)
    line = json.loads(path.read_text())
    assert "4711" not in path.read_text()
    assert (line["code"], line["body"]) == ("a.b", "[4 bytes]")


def test_what_libraries_say_are_lines_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Flower's own, for one, which it would paint on standard error in the middle of ours."""
    from coordinator.transport import grid

    before, path = structlog.get_config(), tmp_path / "log.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        logs.configure(stream)
        logs.configure(stream)  # once is enough for a line
        logging.getLogger(grid.flwr.__name__).warning("attempt %d\nfailed", 3)
        logging.getLogger("some.library").info("not worth a line")
        structlog.configure(**before)
    (line,) = [json.loads(each) for each in path.read_text().splitlines()]
    assert (line["library"], line["said"], line["level"]) == ("flwr", "attempt 3\nfailed", "warning")
    assert capfd.readouterr().err == ""
