"""The points that commitments are made of, which nobody chose.

G_i is the hash to curve of "G" and i (8 bytes, big endian), H of "H", all under `curve.DST`: no one knows a
relation among them, which is what binds a commitment. Whoever could replace a cached point could break that,
so each cached chunk is read into memory, compared with its digest in `pinned` and derived anew if it differs.
Points beyond the pinned ones are derived on every load and never cached.

Deriving costs about 65 µs of one core per point: 3 s on two cores for a million fields of 22 bits, once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from consilium_errors import Misuse, Unavailable

from .blst import THREADS
from .curve import LIMBS, Curve, Points, curve
from .pinned import CHUNK, CHUNK_DIGESTS

Progress = Callable[[int, int], None]

_CHUNK_BYTES: Final = CHUNK * LIMBS * 8
_SLICE: Final = 512  # points derived between two reports of progress
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Generators:
    """``points`` (count, `curve.LIMBS`) G_0, G_1, … and ``blinder`` (1, `curve.LIMBS`) H; read-only."""

    points: Points
    blinder: Points

    @classmethod
    def load(
        cls,
        count: int,
        cache_dir: Path | None = None,
        progress: Progress | None = None,
        *,
        using: Curve | None = None,
    ) -> Generators:
        """The first ``count`` generators (rounded up to whole chunks), from the cache as far as it reaches.

        Args:
            cache_dir: default `default_cache_dir`; one that cannot be written is only a loss of time.
            progress: called with (points derived, points to derive), in the caller's thread.
            using: the library that derives; default `curve.curve`.

        Raises:
            Misuse: ``generators.count`` below 1.
            Unavailable: ``generators.derivation`` if the library derives other points than the pinned ones.
        """
        if count < 1:
            raise Misuse("generators.count", f"at least one generator is needed, not {count}")
        directory = default_cache_dir() if cache_dir is None else cache_dir
        using = using or curve()
        points = np.empty((-(-count // CHUNK) * CHUNK, LIMBS), "<u8")
        chunks = [points[at : at + CHUNK] for at in range(0, len(points), CHUNK)]
        missing = [i for i, chunk in enumerate(chunks) if not _read(directory, i, chunk)]
        for i in _derive(using, missing, chunks, progress):
            _keep(directory, i, chunks[i])
        blinder = using.hash_to_curve([b"H"])
        points.setflags(write=False)
        blinder.setflags(write=False)
        return cls(points, blinder)


def default_cache_dir() -> Path:
    """$CONSILIUM_CACHE, else ``consilium`` in the platform's cache folder of this user."""
    if own := os.environ.get("CONSILIUM_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "consilium"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "consilium"


def _file(directory: Path, index: int) -> Path:
    return directory / f"pedersen-v1-{index:04d}.g1"


def _read(directory: Path, index: int, chunk: Points) -> bool:
    """Fill ``chunk`` from the cache; False if it is not there or not what it must be."""
    if index >= len(CHUNK_DIGESTS):
        return False
    file = _file(directory, index)
    try:
        if not file.is_file() or file.stat().st_size != _CHUNK_BYTES:
            return False
        # Read, not mapped: what was hashed is what is used, whatever happens to the file afterwards.
        content = file.read_bytes()
    except OSError as error:
        _log.warning("generator cache %s cannot be read: %s", file, error.strerror)
        return False
    if hashlib.sha256(content).hexdigest() != CHUNK_DIGESTS[index]:
        _log.warning("generator cache %s was altered; deriving it anew", file)
        return False
    chunk[:] = np.frombuffer(content, "<u8").reshape(CHUNK, LIMBS)
    return True


def _derive(
    using: Curve, missing: list[int], chunks: list[Points], progress: Progress | None
) -> Iterator[int]:
    """Derive ``missing`` on `THREADS` threads; yields each index once its chunk is whole and checked."""

    def one(start: int) -> Points:
        return using.hash_to_curve([b"G" + i.to_bytes(8, "big") for i in range(start, start + _SLICE)])

    starts = [index * CHUNK + k for index in missing for k in range(0, CHUNK, _SLICE)]
    with ThreadPoolExecutor(THREADS) as pool:
        for done, (start, part) in enumerate(zip(starts, pool.map(one, starts), strict=True), 1):
            index, at = divmod(start, CHUNK)
            chunks[index][at : at + _SLICE] = part
            if progress:
                progress(done * _SLICE, len(starts) * _SLICE)
            if at + _SLICE == CHUNK:
                _check(index, chunks[index])
                yield index


def _check(index: int, chunk: Points) -> None:
    if index < len(CHUNK_DIGESTS) and digest(chunk) != CHUNK_DIGESTS[index]:
        raise Unavailable(
            "generators.derivation",
            f"derived generators of chunk {index} differ from the pinned ones",
            "The curve library is not the one that was tested: reinstall ckzg and py_arkworks_bls12381.",
        )


def digest(chunk: Points) -> str:
    """What `pinned` holds of a chunk."""
    return hashlib.sha256(chunk.astype("<u8").tobytes()).hexdigest()


def _keep(directory: Path, index: int, chunk: Points) -> None:
    if index >= len(CHUNK_DIGESTS):
        return
    file = _file(directory, index)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(chunk.astype("<u8").tobytes())
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("generator cache %s cannot be written: %s", file, error.strerror)
