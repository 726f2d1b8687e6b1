"""The frozen cohort of one dataset: what may be used, and what was used before.

* `Cohort.freeze` fixes the rows: a random salt per patient and dataset, salted leaves, their Merkle root.
Chain and
  peers see only roots; with a salt destroyed its leaf means nothing any more (EDPB guidelines 02/2025).
* `Cohort.current` compares a later read with the frozen rows; any difference is ``cohort.changed`` until
the cohort
  is frozen anew, as the next version.
* `Cohort.check` and `Cohort.record` keep, per study, which version of which patient's row was used, and
refuse a
  study whose cohort differs from an earlier one in fewer than ``min_difference`` patients.
* `Cohort.erase` forgets a withdrawn patient: salt, key and id go; a keyed mark keeps the patient out of
later freezes.

All of it lies in one file, encrypted by the hospital's vault and replaced atomically.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rfc8785
from numpy.typing import NDArray

from analytics.disclosure import check_difference
from consilium_errors import Misuse, Refused
from crypto import merkle
from crypto.identity import AgentKey
from crypto.kdf import derive
from crypto.vault import Vault
from participants.cohort_file import ABSENT, Book, Patient
from participants.config import HospitalConfig
from participants.sources import Rows
from protos.digests import tagged
from protos.evm_abi import encode

SALT_BYTES = 16


@dataclass(frozen=True)
class Frozen:
    """What the steward registers on the chain: 32-byte roots; ``patients`` stays at home.

    Args:
        version: counts freezes of this dataset, from 1.
        root: SHA-256 Merkle root over the salted rows.
        cohort_root: keccak root (OpenZeppelin's tree) over (one-time key, commitment), for withdrawals.
        schema_hash: of the mapped columns and how they are read.
    """

    version: int
    root: bytes
    cohort_root: bytes
    schema_hash: bytes
    patients: int


@dataclass(frozen=True)
class Withdrawal:
    """What a patient, or the steward for one, hands to ``withdraw``; ``key`` signs it once."""

    key: AgentKey
    commitment: bytes
    proof: tuple[bytes, ...]


class Cohort:
    """One dataset's cohort in the file ``<folder>/cohort-<dataset>``.

    Args:
        folder: of this hospital, readable by it alone.
        vault: encrypts the file.
        dataset: the dataset's 32-byte id on the chain.
    """

    def __init__(self, folder: Path, vault: Vault, dataset: bytes) -> None:
        self._path, self._vault, self.dataset = folder / f"cohort-{dataset.hex()}", vault, dataset
        self._book = self._load()

    # freezing -----------------------------------------------------------------------------------------

    def freeze(self, rows: Rows, config: HospitalConfig) -> Frozen:
        """Fix the rows except withdrawn patients'; unchanged rows keep roots and version.

        Raises:
            Misuse: ``cohort.empty``.
            Refused: ``cohort.schema`` if, after a release, a column is read otherwise than before: it could
                change a single patient's value without changing a row.
        """
        rows, schema, before = self._without_withdrawn(rows), schema_of(config), self._book
        if rows.n == 0:
            raise Misuse("cohort.empty", "there is no row to freeze")
        shared = before.schema.keys() & schema.keys()
        if before.releases and any(before.schema[name] != schema[name] for name in shared):
            raise Refused(
                "cohort.schema",
                "a column of a dataset that was already used is now read otherwise",
                "restore the mapping, or register the data as a new dataset",
            )
        patients = self._patients(rows, before)
        book = replace(before, schema=schema, patients=patients)
        if patients != before.patients or schema != before.schema:
            self._store(replace(book, version=before.version + 1))
        return self.frozen()

    def _patients(self, rows: Rows, before: Book) -> tuple[Patient, ...]:
        known = {p.id: p for p in before.patients if p.id}
        here: dict[str, Patient] = {}
        for patient_id, row in zip(rows.ids, _texts(rows), strict=True):
            old = known.get(patient_id)
            salt = old.salt if old else secrets.token_bytes(SALT_BYTES)
            digests = _digests(row, salt)
            changed = old is not None and any(v != digests.get(c, v) for c, v in old.digests.items())
            version = old.version + changed if old else 1
            here[patient_id] = Patient(patient_id, salt, version, True, digests)
        # Places never change, so that the maps of earlier releases stay comparable.
        stay = [here.pop(p.id, replace(p, present=False)) for p in before.patients]
        return (*stay, *here.values())

    def frozen(self) -> Frozen:
        """The roots of the frozen cohort.

        Raises:
            Misuse: ``cohort.not_frozen``.
        """
        self._check_frozen()
        leaves = [self._commitment(p) for p in self._present()]
        schema_hash = tagged("schema", rfc8785.dumps(dict(self._book.schema)))
        return Frozen(
            self._book.version,
            merkle.root(leaves),
            merkle.openzeppelin_root([self._leaf(p) for p in self._present()]) if leaves else bytes(32),
            schema_hash,
            len(leaves),
        )

    @property
    def is_frozen(self) -> bool:
        return self._book.version > 0

    def _check_frozen(self) -> None:
        if not self._book.version:
            raise Misuse("cohort.not_frozen", "this dataset's cohort was never frozen", "freeze it first")

    def current(self, rows: Rows, config: HospitalConfig) -> Rows:
        """``rows`` without withdrawn patients, if they are the frozen ones.

        Raises:
            Misuse: ``cohort.not_frozen``.
            Refused: ``cohort.changed``.
        """
        self._check_frozen()
        rows = self._without_withdrawn(rows)
        frozen = {p.id: p for p in self._present()}
        same = (
            schema_of(config) == self._book.schema
            and set(rows.ids) == set(frozen)
            and all(
                _digests(row, frozen[p].salt) == frozen[p].digests
                for p, row in zip(rows.ids, _texts(rows), strict=True)
            )
        )
        if not same:
            raise _changed("the source differs from the frozen cohort")
        return rows

    # releases -----------------------------------------------------------------------------------------

    def members(self, rows: Rows, kept: NDArray[np.int64]) -> NDArray[np.int32]:
        """int32[patients ever seen]: the version of the row in use, 0 where the patient is not.

        Args:
            rows: as `current` gave them.
            kept: indices of the rows that the study uses.
        """
        place = {p.id: i for i, p in enumerate(self._book.patients) if p.present}
        used = np.full(len(self._book.patients), ABSENT, np.int32)
        for row in kept:
            i = place[rows.ids[int(row)]]
            used[i] = self._book.patients[i].version
        return used

    def check(self, study: bytes, members: NDArray[np.int32], min_difference: int) -> None:
        """Nothing if ``study`` may use these rows.

        Raises:
            Refused: ``cohort.changed`` if the study already used others, ``disclosure.difference`` if another
                study used almost the same.
        """
        earlier = dict(self._book.releases)
        own = earlier.pop(study, None)
        if own is not None and not _equal(own, members):
            raise _changed("the study already used other rows of this dataset")
        check_difference(members, earlier.values(), min_difference)

    def record(self, study: bytes, members: NDArray[np.int32], min_difference: int) -> None:
        """`check`, then write down that ``study`` uses these rows; before anything of them leaves."""
        self.check(study, members, min_difference)
        if study not in self._book.releases:
            self._store(replace(self._book, releases={**self._book.releases, study: members}))

    # withdrawal ---------------------------------------------------------------------------------------

    def withdrawal(self, patient_id: str) -> Withdrawal:
        """What the contract needs to withdraw this patient.

        Raises:
            Misuse: ``cohort.patient`` if the patient is not in the frozen cohort.
        """
        present = self._present()
        index = next((i for i, p in enumerate(present) if p.id == patient_id), None)
        if index is None:
            raise Misuse("cohort.patient", "no such patient is in the frozen cohort")
        proof = merkle.openzeppelin_proof([self._leaf(p) for p in present], index)
        return Withdrawal(self._key(present[index]), self._commitment(present[index]), tuple(proof))

    def erase(self, patient_id: str) -> None:
        """Forget a withdrawn patient for good and freeze the rest as the next version.

        Raises:
            Misuse: ``cohort.patient``.
        """
        book = self._book
        if not patient_id or all(p.id != patient_id for p in book.patients):
            raise Misuse("cohort.patient", "no such patient is in this dataset")
        patients = tuple(
            Patient("", b"", p.version, False, {}) if p.id == patient_id else p for p in book.patients
        )
        withdrawn = book.withdrawn | {self._mark(patient_id)}
        self._store(replace(book, version=book.version + 1, patients=patients, withdrawn=withdrawn))

    def _without_withdrawn(self, rows: Rows) -> Rows:
        if not self._book.withdrawn:
            return rows
        stay = [i for i, p in enumerate(rows.ids) if self._mark(p) not in self._book.withdrawn]
        return rows.take(np.array(stay, dtype=np.int64))

    def _mark(self, patient_id: str) -> bytes:
        return hmac.digest(self._book.mark_key, patient_id.encode(), "sha256")

    # leaves -------------------------------------------------------------------------------------------

    def _present(self) -> list[Patient]:
        return [p for p in self._book.patients if p.present]

    def _commitment(self, patient: Patient) -> bytes:
        body = b"".join(patient.digests[c] for c in sorted(patient.digests))
        return tagged("row", patient.salt, self.dataset, body)

    def _key(self, patient: Patient) -> AgentKey:
        return AgentKey.from_bytes(derive("withdrawal", patient.salt, self.dataset))

    def _leaf(self, patient: Patient) -> bytes:
        return encode(["address", "bytes32"], [self._key(patient).address, self._commitment(patient)])

    # file ---------------------------------------------------------------------------------------------

    def _load(self) -> Book:
        try:
            sealed = self._path.read_bytes()
        except FileNotFoundError:
            return Book(mark_key=secrets.token_bytes(32))
        return Book.from_bytes(self._vault.open(self._path.name, sealed))

    def _store(self, book: Book) -> None:
        """Write a whole draft, then put it in place: a crash leaves the old book or the new one."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._vault.seal(self._path.name, book.to_bytes()))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._book = book


def schema_of(config: HospitalConfig) -> dict[str, str]:
    """Source column by variable and how it is read, in one canonical text each."""
    return {
        name: rfc8785.dumps(
            {
                "from": c.from_,
                "unit": c.unit or "",
                "map": {text: str(target) for text, target in (c.map or {}).items()},
                "missing": sorted(str(mark) for mark in c.missing),
            }
        ).decode()
        for name, c in config.columns.items()
    }


def _texts(rows: Rows) -> Iterator[dict[str, str | None]]:
    """Row by row, source column -> text."""
    names = list(rows.columns)
    columns = [[column.values[code] for code in column.codes.tolist()] for column in rows.columns.values()]
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _digests(row: dict[str, str | None], salt: bytes) -> dict[str, bytes]:
    """Keyed 16-byte digest of each source column's value: whether it changed, without keeping it."""
    return {name: _digest(salt, name, value) for name, value in row.items()}


def _digest(salt: bytes, name: str, value: str | None) -> bytes:
    text = b"\0" if value is None else b"\1" + value.encode()
    label = name.encode()
    return hashlib.blake2b(len(label).to_bytes(4, "big") + label + text, digest_size=16, key=salt).digest()


def _equal(a: NDArray[np.int32], b: NDArray[np.int32]) -> bool:
    size = max(len(a), len(b))
    return bool((np.pad(a, (0, size - len(a))) == np.pad(b, (0, size - len(b)))).all())


def _changed(message: str) -> Refused:
    return Refused("cohort.changed", message, "restore the source as it was, or freeze the cohort anew")
