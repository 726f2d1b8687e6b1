"""The bytes of a dataset's cohort book: a safetensors file (no pickle), encrypted by who stores it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT = 0
_SALT, _MARK, _DIGEST = 16, 32, 16


@dataclass(frozen=True)
class Patient:
    """One place in the book, kept for good.

    Args:
        id: the source's patient id; empty when erased.
        salt: 16 random bytes; empty when erased.
        version: counts changes of the row's content, from 1.
        present: in the frozen cohort.
        digests: keyed 16-byte digest by source column.
    """

    id: str
    salt: bytes
    version: int
    present: bool
    digests: Mapping[str, bytes]


@dataclass(frozen=True)
class Book:
    """All that is remembered of one dataset.

    Args:
        mark_key: 32 bytes, key of the marks in ``withdrawn``.
        version: freezes so far; 0 before the first.
        schema: how each variable is read.
        releases: study id -> int32[places] as `Cohort.members` gives it.
    """

    mark_key: bytes
    version: int = 0
    schema: Mapping[str, str] = field(default_factory=dict)
    patients: tuple[Patient, ...] = ()
    withdrawn: frozenset[bytes] = frozenset()
    releases: Mapping[bytes, NDArray[np.int32]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        from safetensors.numpy import save

        columns = sorted({name for p in self.patients for name in p.digests})
        head = {
            "version": self.version,
            "mark_key": self.mark_key.hex(),
            "schema": dict(self.schema),
            "ids": [p.id for p in self.patients],
            "columns": columns,
        }
        tensors: dict[str, NDArray[Any]] = {
            "head": _bytes(json.dumps(head).encode()),
            "salts": _bytes(b"".join(p.salt.ljust(_SALT, b"\0") for p in self.patients)),
            "versions": np.array([p.version for p in self.patients], np.int32),
            "present": np.array([p.present for p in self.patients], np.uint8),
            "withdrawn": _bytes(b"".join(sorted(self.withdrawn))),
        }
        for k, name in enumerate(columns):
            held = (p.digests.get(name, b"").ljust(_DIGEST, b"\0") for p in self.patients)
            tensors[f"digests-{k}"] = _bytes(b"".join(held))
        for study, used in self.releases.items():
            tensors[f"release-{study.hex()}"] = used.astype(np.int32)
        return save(tensors)

    @classmethod
    def from_bytes(cls, data: bytes) -> Book:
        """Inverse of `to_bytes`, for bytes that the vault vouches for."""
        from safetensors.numpy import load

        tensors = load(data)
        head = json.loads(tensors["head"].tobytes())
        salts = _slices(tensors["salts"].tobytes(), _SALT)
        digests = {
            c: _slices(tensors[f"digests-{k}"].tobytes(), _DIGEST) for k, c in enumerate(head["columns"])
        }
        patients = []
        for i, patient_id in enumerate(head["ids"]):
            held = {c: v[i] for c, v in digests.items() if v[i] != bytes(_DIGEST)} if patient_id else {}
            patients.append(
                Patient(
                    patient_id,
                    salts[i] if patient_id else b"",
                    int(tensors["versions"][i]),
                    bool(tensors["present"][i]),
                    held,
                )
            )
        return cls(
            bytes.fromhex(head["mark_key"]),
            head["version"],
            head["schema"],
            tuple(patients),
            frozenset(_slices(tensors["withdrawn"].tobytes(), _MARK)),
            {
                bytes.fromhex(n.removeprefix("release-")): t
                for n, t in tensors.items()
                if n.startswith("release-")
            },
        )


def _bytes(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _slices(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]
