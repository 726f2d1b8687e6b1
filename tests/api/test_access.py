"""What each role may see and do; posing as another organisation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consilium_errors import Error, Misuse, Refused
from coordinator.client import Consilium, Phase, StudyHandle
from protos.consilium.v1 import services_pb2 as api
from tests.api.stand import SITES, Stand
from tests.conftest import tiny_spec

STRANGER = b"\x77" * 20


@pytest.fixture(scope="module")
def study(stand: Stand) -> StudyHandle:
    """Of hospitals a, b and c, not d."""
    return stand.client().submit(tiny_spec("shared", SITES[:3], sum_="clear"))


def code(act: Callable[[], object]) -> tuple[type[Error], str]:
    with pytest.raises(Error) as caught:
        act()
    return type(caught.value), caught.value.code


def strangers(stand: Stand) -> dict[str, Consilium]:
    issue = stand.authority.issue
    return {
        "another sponsor": stand.client(papers=issue("sponsor", STRANGER)),
        "a hospital outside the roster": stand.client("hospital", "d"),
        "a hospital's address in a sponsor's role": stand.client(
            papers=issue("sponsor", stand.org("hospital"))
        ),
        "the sponsor's address in a hospital's role": stand.client(
            papers=issue("hospital", stand.org("sponsor"))
        ),
        "the coordinator itself": stand.client("coordinator"),
    }


def test_strangers_see_nothing(stand: Stand, study: StudyHandle) -> None:
    """And cannot tell a study that is hidden from one that does not exist."""
    for who, client in strangers(stand).items():
        for act in (
            lambda c=client: c.get(study.id),
            lambda c=client: next(c.watch(study.id)),
            lambda c=client: c.cancel(study.id),
            lambda c=client: c.start(study.id),
            lambda c=client: c.result(study.id, b"\1" * 32),
            lambda c=client: c.seals(study.id),
            lambda c=client: c.bundle(study.id),
            lambda c=client: c.verdict(study.id),
            lambda c=client: c.get(b"\5" * 32),
            lambda c=client: c.get(b""),
        ):
            assert code(act) == (Misuse, "study.unknown"), who
        assert study.id not in [s.id for s in client.list()], who


def test_the_roster_reads_and_does_not_write(stand: Stand, study: StudyHandle) -> None:
    hospital = stand.client("hospital", "b")
    assert hospital.get(study.id).name == "shared"
    assert study.id in [s.id for s in hospital.list()]
    assert hospital.seals(study.id) == ()
    for act in (
        lambda: hospital.start(study.id),
        lambda: hospital.cancel(study.id),
        lambda: hospital.result(study.id, b"\1" * 32),
    ):
        assert code(act) == (Refused, "api.not_yours")
    assert study.get().phase is Phase.OFFERED


def test_a_regulator_audits_and_does_no_more(stand: Stand, study: StudyHandle) -> None:
    regulator = stand.client("regulator")
    assert regulator.seals(study.id) == ()
    assert regulator.bundle(study.id)
    assert not regulator.verdict(study.id).failed
    assert study.id in [s.id for s in regulator.list()]
    raw = stand.raw(stand.papers("regulator"))
    assert not raw.List(api.ListRequest(), timeout=5).studies
    for act in (
        lambda: regulator.get(study.id),
        lambda: regulator.cancel(study.id),
        lambda: regulator.result(study.id, b"\1" * 32),
    ):
        assert code(act) == (Misuse, "study.unknown")


def test_only_its_sponsor_submits_a_study(stand: Stand, study: StudyHandle) -> None:
    spec = tiny_spec("shared", SITES[:3], sum_="clear")
    offer = lambda client: client.offer(study.id, spec, stand.council.sponsor_key)  # noqa: E731
    other = stand.client(papers=stand.authority.issue("sponsor", STRANGER))
    assert code(lambda: offer(other)) == (Refused, "api.not_yours")
    for role in ("hospital", "regulator", "coordinator"):
        assert code(lambda role=role: offer(stand.client(role))) == (Refused, "api.role")  # type: ignore[misc]


def test_what_is_not_on_the_chain_is_not_taken(stand: Stand) -> None:
    spec = stand.spec("unregistered")
    act = lambda: stand.client().offer(b"\6" * 32, spec, stand.council.sponsor_key)  # noqa: E731
    assert code(act) == (Refused, "chain.unknown")


def test_a_client_without_a_sponsors_keys_says_so(stand: Stand) -> None:
    regulator = stand.client("regulator")
    assert code(lambda: regulator.submit(stand.spec("none"))) == (Misuse, "client.no_account")
