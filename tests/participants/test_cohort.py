from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consilium_errors import Hostile, Misuse, Refused
from crypto import merkle
from crypto.identity import recover
from crypto.vault import Vault
from participants.cohort import Cohort
from participants.cohort_file import Book
from participants.config import HospitalConfig
from participants.data import HospitalData
from participants.sources import Rows, read
from tests.participants.hospitals import HOSPITAL, hospital, lines, lung

KEY, DATASET = bytes(range(32)), b"\xd5" * 32
STUDY, OTHER = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def cohort(folder: Path, dataset: bytes = DATASET) -> Cohort:
    return Cohort(folder / "vault", Vault(KEY), dataset)


def source(folder: Path, rows: list[list[object]], text: str = HOSPITAL) -> tuple[Rows, HospitalConfig]:
    config = hospital(folder, rows, text)
    return read(config), config


def everybody(book: Cohort, rows: Rows) -> Any:
    return book.members(rows, np.arange(rows.n))


def refuses(code: str, call: Any, *arguments: Any) -> None:
    with pytest.raises(Refused) as refused:
        call(*arguments)
    assert refused.value.code == code


# freezing --------------------------------------------------------------------------------------------


def test_unchanged_rows_keep_roots_and_version_over_restarts(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    first = cohort(folder).freeze(rows, config)
    assert (first.version, first.patients) == (1, 30)
    assert cohort(folder).freeze(rows, config) == cohort(folder).frozen() == first
    shuffled, _ = source(folder, lines(30)[::-1])
    assert cohort(folder).freeze(shuffled, config) == first


def test_nothing_can_be_guessed_from_the_roots(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    one = cohort(folder).freeze(rows, config)
    two = cohort(folder, b"\xee" * 32).freeze(rows, config)
    three = Cohort(folder / "elsewhere", Vault(KEY), DATASET).freeze(rows, config)
    assert len({one.root, two.root, three.root}) == 3
    assert len({one.cohort_root, two.cohort_root, three.cohort_root}) == 3
    assert one.schema_hash == two.schema_hash


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.pop(),
        lambda rows: rows.append(lines(1, 99)[0]),
        lambda rows: rows[4].__setitem__(3, 77),
        lambda rows: rows[4].__setitem__(3, ""),
        lambda rows: rows[4].__setitem__(0, "p999"),
    ],
)
def test_a_changed_table_is_noticed(folder: Path, change: Any) -> None:
    before, config = source(folder, lines(30))
    frozen = cohort(folder).freeze(before, config)
    changed = lines(30)
    change(changed)
    rows, config = source(folder, changed)
    refuses("cohort.changed", cohort(folder).current, rows, config)
    again = cohort(folder).freeze(rows, config)
    assert again.version == 2
    assert again.root != frozen.root
    assert cohort(folder).current(rows, config).n == rows.n


def test_a_changed_mapping_is_noticed(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    cohort(folder).freeze(rows, config)
    _, other = source(folder, lines(30), HOSPITAL.replace("[-9, 999]", "[-9]"))
    refuses("cohort.changed", cohort(folder).current, rows, other)


def test_what_was_never_frozen_is_not_used(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    for call in (lambda: cohort(folder).current(rows, config), cohort(folder).frozen):
        with pytest.raises(Misuse) as wrong:
            call()
        assert wrong.value.code == "cohort.not_frozen"
    with pytest.raises(Misuse) as wrong:
        cohort(folder).freeze(*source(folder, []))
    assert wrong.value.code == "cohort.empty"


# differences -----------------------------------------------------------------------------------------


def test_two_studies_cannot_be_subtracted_to_find_a_patient(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    book.freeze(rows, config)
    book.record(STUDY, everybody(book, rows), 5)
    for gone in range(1, 5):
        fewer = book.members(rows, np.arange(gone, 30))
        refuses("disclosure.difference", cohort(folder).record, OTHER, fewer, 5)
    cohort(folder).record(OTHER, book.members(rows, np.arange(5, 30)), 5)


def test_a_study_keeps_its_rows(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    book.freeze(rows, config)
    book.record(STUDY, everybody(book, rows), 5)
    cohort(folder).record(STUDY, everybody(book, rows), 5)
    refuses("cohort.changed", cohort(folder).check, STUDY, book.members(rows, np.arange(10, 30)), 5)


def test_correcting_a_row_between_two_studies_does_not_show_it(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    book.freeze(rows, config)
    book.record(STUDY, everybody(book, rows), 5)
    corrected = lines(30)
    corrected[3][2] = "alive" if corrected[3][2] == "dead" else "dead"
    rows, config = source(folder, corrected)
    book.freeze(rows, config)
    refuses("disclosure.difference", cohort(folder).check, OTHER, everybody(book, rows), 5)
    # Nor does correcting it back: what was used in between stays a difference.
    book.freeze(*source(folder, lines(30)))
    refuses("disclosure.difference", book.check, OTHER, everybody(book, read(config)), 5)


def test_newcomers_open_the_dataset_again_when_they_are_enough(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    book.freeze(rows, config)
    book.record(STUDY, everybody(book, rows), 5)
    for count, fine in ((34, False), (35, True)):
        rows, config = source(folder, lines(count))
        book.freeze(rows, config)
        if fine:
            book.check(OTHER, everybody(book, rows), 5)
        else:
            refuses("disclosure.difference", book.check, OTHER, everybody(book, rows), 5)


def test_a_column_may_be_added_but_not_be_read_otherwise_after_a_release(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    book.freeze(rows, config)
    book.record(STUDY, everybody(book, rows), 5)
    rows, config = source(folder, lines(30), HOSPITAL.replace("999", "33"))
    refuses("cohort.schema", book.freeze, rows, config)
    rows, config = source(
        folder, lines(30), HOSPITAL.replace("[policy]", '[columns.vital]\nfrom = "vital"\n[policy]')
    )
    assert book.freeze(rows, config).version == 2
    book.check(OTHER, everybody(book, rows), 5)


# withdrawal ------------------------------------------------------------------------------------------


def test_a_withdrawal_leads_to_the_cohort_root_and_its_key_signs(folder: Path) -> None:
    from eth_abi.abi import encode
    from eth_hash.auto import keccak

    rows, config = source(folder, lines(30))
    book = cohort(folder)
    frozen = book.freeze(rows, config)
    found = book.withdrawal("p007")
    node = merkle.openzeppelin_leaf(encode(["address", "bytes32"], [found.key.address, found.commitment]))
    for sibling in found.proof:
        node = keccak(min(node, sibling) + max(node, sibling))
    assert node == frozen.cohort_root
    assert recover(b"\x07" * 32, found.key.sign(b"\x07" * 32)) == found.key.address
    assert book.withdrawal("p008").key.address != found.key.address
    with pytest.raises(Misuse):
        book.withdrawal("p999")


def test_an_erased_patient_is_forgotten_and_stays_out(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    before = book.freeze(rows, config)
    salt = next(p.salt for p in book._book.patients if p.id == "p007")
    book.record(STUDY, everybody(book, rows), 5)
    book.erase("p007")
    after = cohort(folder).frozen()
    assert (after.version, after.patients) == (2, 29)
    assert after.root != before.root
    plain = Vault(KEY).open(book._path.name, book._path.read_bytes())
    assert salt not in plain
    assert b"p007" not in plain
    assert b"p008" in plain
    # The source still has the row; it is not used, and freezing again does not bring it back.
    again = cohort(folder)
    assert "p007" not in again.current(rows, config).ids
    assert again.freeze(rows, config) == after
    rest = again.current(rows, config)
    refuses("disclosure.difference", again.check, OTHER, again.members(rest, np.arange(29)), 5)
    refuses("cohort.changed", again.check, STUDY, again.members(rest, np.arange(29)), 5)
    for nobody in ("p007", ""):
        with pytest.raises(Misuse):
            again.erase(nobody)


# file ------------------------------------------------------------------------------------------------


def test_the_file_is_encrypted_private_and_bound_to_its_dataset(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    book.freeze(rows, config)
    path = book._path
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"p007" not in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    moved = path.with_name("cohort-" + (b"\xee" * 32).hex())
    moved.write_bytes(path.read_bytes())
    with pytest.raises(Hostile):
        cohort(folder, b"\xee" * 32)
    altered = bytearray(path.read_bytes())
    altered[40] ^= 1
    path.write_bytes(altered)
    with pytest.raises(Hostile) as hostile:
        cohort(folder)
    assert hostile.value.code == "vault.open"


def test_a_crash_while_writing_leaves_the_old_book(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    frozen = book.freeze(rows, config)

    def crash(*_: object) -> None:
        raise OSError("power")

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OSError, match="power"):
        book.record(STUDY, everybody(book, rows), 5)
    monkeypatch.undo()
    assert cohort(folder).frozen() == frozen
    # What could not be written down was not recorded in memory either.
    assert not book._book.releases


def test_the_book_survives_its_bytes(folder: Path) -> None:
    rows, config = source(folder, lines(30))
    book = cohort(folder)
    book.freeze(rows, config)
    book.record(STUDY, everybody(book, rows), 5)
    book.erase("p003")
    kept, back = book._book, Book.from_bytes(book._book.to_bytes())
    assert (back.patients, back.withdrawn, back.schema) == (kept.patients, kept.withdrawn, kept.schema)
    assert back.releases.keys() == kept.releases.keys()
    assert (back.releases[STUDY] == kept.releases[STUDY]).all()


# the whole way ---------------------------------------------------------------------------------------


def data(folder: Path, rows: list[list[object]]) -> HospitalData:
    return HospitalData(hospital(folder, rows), cohort(folder))


def test_the_table_of_a_study_and_what_is_refused_on_the_way(folder: Path) -> None:
    first = data(folder, lines(40))
    with pytest.raises(Misuse):
        first.table(lung())
    first.freeze()
    assert first.table(lung()).n == 40
    assert first.table(lung()).n == 40
    # Another study that leaves out one patient's age group.
    older = lung(**{"age >= 18": "age > 30", "lung-os": "lung-os-2"})
    assert first.mapped(older).table.n == 39
    refuses("disclosure.difference", data(folder, lines(40)).table, older)
    refuses("cohort.changed", data(folder, lines(39)).table, lung())


def test_a_small_cohort_contributes_nothing(folder: Path) -> None:
    few = data(folder, lines(14))
    few.freeze()
    refuses("disclosure.min_rows", few.table, lung())
    assert not few.cohort._book.releases
