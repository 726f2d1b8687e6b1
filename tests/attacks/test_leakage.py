"""What a hospital says when something fails: a stable code, and never a word, path or value of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from analytics.study import StudySpec
from analytics.table import Table
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks.table import Ring
from tests.conftest import tiny_spec

pytestmark = [pytest.mark.slow, pytest.mark.chain]
SECRET = "/srv/patients/MRN-4711.csv: haemoglobin 7.2"
CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


@pytest.fixture
def said(ring: Ring) -> Iterator[list[pb.Mail]]:
    """Every letter to the coordinator."""
    letters: list[pb.Mail] = []

    def ear(to: bytes, mail: pb.Mail) -> None:
        if to == ring.council.coordinator.me:
            letters.append(mail)

    ring.mailbox.ears.append(ear)
    yield letters
    ring.mailbox.ears.remove(ear)


def refusals(said: list[pb.Mail], study: bytes) -> list[pb.Refusal]:
    signed = [wire.parse(pb.Signed, m.body) for m in said if (m.kind, m.study) == ("refusal", study)]
    return [wire.parse(pb.Refusal, s.payload) for s in signed]


def test_an_error_in_ones_own_data_leaves_as_a_code(
    ring: Ring, said: list[pb.Mail], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on without it; nothing of the exception is in any letter."""
    spec = tiny_spec("broken-data")
    study = ring.register(spec)

    def broken(_: StudySpec) -> Table:
        raise ValueError(SECRET)

    monkeypatch.setattr(ring.seat("d").hospital, "_table_of", broken)
    ring.council.wait(lambda: ring.attested(study) >= 1, 60)
    found = refusals(said, study)
    assert [(r.org, r.code) for r in found] == [(ring.org("d"), "hospital.failed")]
    for mail in said:
        body = wire.encode(mail)
        assert not any(part.encode() in body for part in ("MRN", "4711", "ValueError", "patients", "7.2"))
        assert str(ring.council.folder).encode() not in body


def test_values_out_of_range_leave_as_a_code(
    ring: Ring, said: list[pb.Mail], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_spec("wild-data")
    study = ring.register(spec)

    def wild(_: StudySpec) -> Table:
        import numpy as np

        return Table({"age": np.array([1e300]), "bmi": np.array([25.0])}, {}, 1)

    monkeypatch.setattr(ring.seat("d").hospital, "_table_of", wild)
    ring.council.wait(lambda: ring.attested(study) >= 1, 60)
    [found] = refusals(said, study)
    assert CODE.fullmatch(found.code)
    assert b"e+300" not in b"".join(wire.encode(m) for m in said)


def test_letters_of_rubbish_stop_nobody(ring: Ring) -> None:
    """To a hospital and to the coordinator; of a study they know, of one they do not, and of none."""
    spec = tiny_spec("rubbish")
    study = ring.register(spec)
    coordinator, hospital = ring.council.coordinator, ring.seat("a").hospital
    kinds = ["task", "hellos", "plan", "locked", "sum", "attested", "catch-up", "catch-up-request"]
    kinds += ["hello", "ready", "upload", "unlock", "seal", "refusal", "complaint", "dispute", "release"]
    kinds += ["check", "checked", "checked-all", "range", "ranges", "verdict"]
    for to in (coordinator.me, hospital.identity.org):
        for kind in [*kinds, "offer", "gossip"]:
            for about in (study, bytes(32)):
                for body in (b"", b"\xff" * 40, b"\x0a\x02hi"):
                    mail = pb.Mail(kind=kind, study=about, sender=coordinator.me, body=body)
                    ring.mailbox.post(to, wire.encode(mail))
        super(type(ring.mailbox), ring.mailbox).post(to, b"\xff\xff no letter at all")
    ring.council.wait(lambda: ring.attested(study) >= 1, 60)
    ring.council.settle()
    assert not ring.mailbox.fetch(coordinator.me)
    assert not ring.mailbox.fetch(hospital.identity.org)
    assert {code for _, code in hospital.refusals if not CODE.fullmatch(code)} == set()
