"""Terms: what makes no sense is refused, and every field is bound. Records: written once."""

from dataclasses import replace

import pytest

from consilium_errors import Misuse, Refused
from crypto.mpc.words import Terms, keep
from tests.crypto.mpc.stand import Folder


@pytest.mark.parametrize(
    "change",
    [
        {"orgs": (b"b" * 20, b"a" * 20, b"c" * 20)},
        {"orgs": (b"a" * 20, b"b" * 20)},
        {"members": (b"1" * 20, b"1" * 20, b"2" * 20)},
        {"minimum": 2},
        {"minimum": 4},
        {"length": 0},
        {"cut": 2, "method": "trimmed"},
        {"method": "median", "bound": None},
        {"method": "median", "noisy": True},
        {"lock_id": b"short"},
    ],
)
def test_terms_that_make_no_sense_are_refused(change):
    good = {
        "lock_id": bytes(32),
        "plan_hash": bytes(32),
        "inputs_root": bytes(32),
        "release": bytes(32),
        "orgs": (b"a" * 20, b"b" * 20, b"c" * 20),
        "upload_hashes": (bytes(32),) * 3,
        "members": (b"1" * 20, b"2" * 20, b"3" * 20),
        "length": 5,
        "bound": 9,
        "minimum": 3,
    }
    Terms(**good)
    with pytest.raises(Misuse):
        Terms(**{**good, **change})


def test_every_field_of_the_terms_is_in_their_digest():
    good = Terms(
        bytes(32), bytes(32), bytes(32), bytes(32), (b"a" * 20, b"b" * 20, b"c" * 20), (bytes(32),) * 3,
        (b"1" * 20, b"2" * 20, b"3" * 20), 5, 9, 3,
    )  # fmt: skip
    one = b"\1" * 32
    changed = [
        {"lock_id": one}, {"plan_hash": one}, {"inputs_root": one}, {"release": one},
        {"orgs": (b"a" * 20, b"b" * 20, b"d" * 20)}, {"upload_hashes": (one,) * 3},
        {"members": (b"1" * 20, b"3" * 20, b"2" * 20)}, {"length": 6}, {"bound": 8}, {"bound": None},
        {"cut": 1}, {"method": "median"}, {"noisy": True},
    ]  # fmt: skip
    digests = {good.digest(), *(replace(good, **change).digest() for change in changed)}
    assert len(digests) == 1 + len(changed)
    kept = {good.set_digest(), *(replace(good, **c).set_digest() for c in changed)}
    assert len(kept) == 1 + len(changed) - 5  # not: lock, plan, release, uploads, members
    # what the analysis opened before is each party's own knowledge
    assert replace(good, only=good.orgs).digest() == good.digest()


def test_records_are_written_once(tmp_path):
    journal = Folder(tmp_path / "journal")
    keep(journal, "set", b"one", "mpc.other_set")
    keep(journal, "set", b"one", "mpc.other_set")
    with pytest.raises(Refused) as e:
        keep(journal, "set", b"two", "mpc.other_set")
    assert e.value.code == "mpc.other_set"
