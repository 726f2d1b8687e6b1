"""Pseudo-random words: AES-256-CTR (NIST SP 800-38A), the only generator that the committee's arithmetic knows."""

from __future__ import annotations

from typing import Final, NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from consilium_errors import Misuse

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

KEY_BYTES: Final = 32
_ZEROS: Final = memoryview(bytes(1 << 18))
_SPARE: Final = 15  # CTR writes no more than it reads, but the interface asks for room for a block


class Stream:
    """The key stream of one key from counter 0; two holders of the key read the same words in the same order.

    It cannot be copied: a second reader of a mask is an attack, never a use.

    Raises:
        Misuse: ``mpc.key`` for a key that has not 32 bytes.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise Misuse("mpc.key", f"a stream key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def into(self, room: bytearray, size: int) -> None:
        """The next ``size`` bytes into ``room``, which `room` made for at least as many."""
        view = memoryview(room)
        for start in range(0, size, len(_ZEROS)):
            step = min(len(_ZEROS), size - start)
            self._cipher.update_into(_ZEROS[:step], view[start : start + step + _SPARE])

    def words(self, n: int) -> U64:
        """The next ``n`` little-endian words, uniform modulo 2^64."""
        made = room(8 * n)
        self.into(made, 8 * n)
        return np.frombuffer(made, "<u8", n)

    def __reduce__(self) -> NoReturn:
        raise Misuse("mpc.cloned_generator", "a stream is not copied; derive a key for each use")

    def __repr__(self) -> str:
        return "Stream()"


def room(size: int) -> bytearray:
    """A buffer for `Stream.into`."""
    return bytearray(size + _SPARE)
