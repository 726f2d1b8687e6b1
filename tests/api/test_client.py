"""The client against a coordinator that lies: its certificate is right, its answers are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from consent_contracts.chain import Chain
from consent_contracts.signed import sign
from consilium_errors import Error, Hostile, Refused, Unavailable
from coordinator.client import Consilium, Seal
from crypto import envelopes
from crypto.identity import AgentKey
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from protos.consilium.v1 import services_pb2 as api
from protos.consilium.v1 import services_pb2_grpc as rpc
from tests.api.stand import Stand

STUDY = b"\3" * 32


class Liar(rpc.StudyServiceServicer):
    """Answers whatever the test puts here."""

    def __init__(self) -> None:
        self.answer: Callable[[grpc.ServicerContext], object] = lambda context: None

    def Get(self, request: api.GetRequest, context: grpc.ServicerContext) -> object:
        return self.answer(context)

    def List(self, request: api.ListRequest, context: grpc.ServicerContext) -> object:
        return self.answer(context)

    def Watch(self, request: api.WatchRequest, context: grpc.ServicerContext) -> Iterator[object]:
        yield from self.answer(context)  # type: ignore[misc]

    def Result(self, request: api.ResultRequest, context: grpc.ServicerContext) -> Iterator[object]:
        yield from self.answer(context)  # type: ignore[misc]


@pytest.fixture(scope="module")
def lying(stand: Stand) -> Iterator[tuple[Liar, Consilium]]:
    liar, own = Liar(), stand.papers("coordinator")
    server = grpc.server(ThreadPoolExecutor(4))
    rpc.add_StudyServiceServicer_to_server(liar, server)
    credentials = grpc.ssl_server_credentials(
        [(own.key, own.certificate)], root_certificates=own.ca, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    papers = stand.papers("sponsor")
    client = Consilium.connect(
        f"127.0.0.1:{port}",
        ca=papers.ca,
        certificate=papers.certificate,
        key=papers.key,
        chain=Chain([stand.council.rpc_url], stand.council.addresses),
    )
    yield liar, client
    client.close()
    server.stop(None)


def good(**other: object) -> api.Study:
    spec = b"{}"
    fields: dict[str, object] = {
        "id": STUDY,
        "name": "x",
        "phase": api.RUNNING,
        "spec_hash": digests.tagged("spec", spec),
        "sponsor": b"\1" * 20,
        "spec": spec,
    }
    return api.Study(**{**fields, **other})  # type: ignore[arg-type]


def test_the_lies_begin_from_something_true(lying: tuple[Liar, Consilium]) -> None:
    liar, client = lying
    liar.answer = lambda _: good()
    assert client.get(STUDY).name == "x"


@pytest.mark.parametrize(
    "lie",
    [
        {"id": b"\4" * 32},
        {"id": b"\3" * 31},
        {"sponsor": b""},
        {"roster": [b"\1" * 19]},
        {"phase": 0},
        {"phase": 99},
        {"last": "\x1b[2Jyour study is finished"},
        {"name": "\u202eevil"},
        {"analysis": "a" * 500},
        {"spec": b"[]"},
        {"accused": [api.Accusation(code="\x1b[2Jnobody")]},
        {"accused": [api.Accusation(code="range.proof", orgs=[b"\1" * 19])]},
        {"accused": [api.Accusation(code="range.proof", by=[b""])]},
    ],
    ids=str,
)
def test_answers_that_are_not_one(lying: tuple[Liar, Consilium], lie: dict[str, object]) -> None:
    liar, client = lying
    liar.answer = lambda _: good(**lie)
    with pytest.raises(Hostile) as caught:
        client.get(STUDY)
    assert caught.value.code in ("answer.malformed", "answer.spec")


def test_pages_without_end(lying: tuple[Liar, Consilium]) -> None:
    liar, client = lying
    liar.answer = lambda _: api.ListResponse(next=b"\1")
    with pytest.raises(Hostile):
        client.list()


def test_seals_told_twice_or_left_out(lying: tuple[Liar, Consilium]) -> None:
    liar, client = lying
    for numbers in ((1, 1), (1, 3), (2,)):
        liar.answer = lambda _, numbers=numbers: [  # type: ignore[misc]
            api.StudyEvent(seal=api.SealInfo(number=n, seal_id=b"\1" * 32)) for n in numbers
        ]
        with pytest.raises(Hostile):
            list(client.watch(STUDY))


def test_a_broken_watch_goes_on_where_it_was(lying: tuple[Liar, Consilium]) -> None:
    liar, client = lying
    turns: list[int] = []

    def broken(context: grpc.ServicerContext) -> Iterator[api.StudyEvent]:
        turns.append(1)
        n = len(turns)
        yield api.StudyEvent(seal=api.SealInfo(number=n, seal_id=bytes([n]) * 32))
        if n < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the cable was pulled")
        yield api.StudyEvent(state=good(phase=api.FINISHED))

    liar.answer = broken
    events = list(client.watch(STUDY))
    assert [e.number for e in events if isinstance(e, Seal)] == [1, 2, 3]


def test_no_patience_without_an_answer(lying: tuple[Liar, Consilium]) -> None:
    liar, client = lying
    liar.answer = lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "")
    with pytest.raises(Unavailable) as caught:
        list(client.watch(STUDY, patience_s=0.5))
    assert caught.value.code == "api.unreachable"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("not a code", "refused"),
        ("a.b\x1b", "refused"),
        ("a." + "b" * 80, "refused"),
        ("a.b", "else"),
        ("", ""),
    ],
)
def test_codes_that_are_none(lying: tuple[Liar, Consilium], code: str, kind: str) -> None:
    liar, client = lying
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(domain="consilium", metadata={"code": code, "kind": kind}))
    status = rpc_status.to_status(status_pb2.Status(code=9, message="x", details=[detail]))
    liar.answer = lambda context: context.abort_with_status(status)
    with pytest.raises(Hostile) as caught:
        client.get(STUDY)
    assert caught.value.code == "api.status"


def test_only_the_code_is_taken_over(lying: tuple[Liar, Consilium]) -> None:
    """The text beside it is the other's, and is not shown."""
    liar, client = lying
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(domain="consilium", metadata={"code": "a.b", "kind": "refused"}))
    status = rpc_status.to_status(status_pb2.Status(code=9, message="send money", details=[detail]))
    liar.answer = lambda context: context.abort_with_status(status)
    with pytest.raises(Refused) as caught:
        client.get(STUDY)
    assert caught.value.code == "a.b"
    assert "money" not in caught.value.diagnostics()


# results ---------------------------------------------------------------------------------------------------


def release(stand: Stand, study: bytes, site: str, key: AgentKey, result: bytes = b'{"n":1}') -> bytes:
    """Well formed and sealed to the sponsor, whose public key anybody may know."""
    org, ids = stand.seat(site).desk.org, [b"\1" * 32]
    info = digests.tagged("release", study, org, *ids)
    message = pb.Release(
        study=study,
        org=org,
        recipient=b"\2" * 32,
        seal_ids=ids,
        sealed=envelopes.seal(stand.council.sponsor_key, info, result),
    )
    return wire.encode(sign("release", message, org=org, key=key))


def test_forged_releases(stand: Stand, lying: tuple[Liar, Consilium]) -> None:
    """The coordinator makes up a result; it has the sponsor's public key, not the hospitals' agents."""
    liar, client = lying
    study = stand.client().submit(stand.spec("forged")).id
    own = {site: stand.seat(site).hospital.identity.agent for site in "abc"}
    forger = AgentKey.generate()

    def ask(bodies: dict[str, bytes], org: bytes | None = None) -> Error:
        parts = [
            api.ReleasePart(org=org or stand.seat(s).desk.org, data=b, last=True) for s, b in bodies.items()
        ]
        liar.answer = lambda _: parts
        with pytest.raises(Error) as caught:
            client.result(study, stand.council.sponsor_secret)
        return caught.value

    made_up = {site: release(stand, study, site, forger) for site in "abc"}
    assert ask(made_up).code == "signature.wrong_signer"
    true = {site: release(stand, study, site, own[site]) for site in "abc"}
    liar.answer = lambda _: [
        api.ReleasePart(org=stand.seat(s).desk.org, data=b, last=True) for s, b in true.items()
    ]
    assert client.result(study, stand.council.sponsor_secret).content == {"n": 1}
    assert ask({"a": true["a"], "b": true["b"]}).code == "release.too_few"
    assert ask({"a": true["a"], "b": true["a"], "c": true["c"]}).code == "release.study"
    assert ask({**true, "c": release(stand, study, "c", own["c"], b'{"n":2}')}).code == "release.differs"
    assert ask({**true, "c": release(stand, b"\6" * 32, "c", own["c"])}).code == "release.study"
    assert ask({"a": true["a"]}, org=b"\7" * 20).code == "release.foreign"
