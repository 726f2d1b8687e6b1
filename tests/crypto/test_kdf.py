import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilium_errors import Misuse
from crypto.kdf import derive


def rfc5869(material: bytes, info: bytes, length: int) -> bytes:
    key = hmac.digest(bytes(32), material, "sha256")
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def test_vectors(vectors):
    for case in vectors("kdf"):
        parts = [bytes.fromhex(part) for part in case["parts"]]
        assert derive(case["label"], *parts, length=case["length"]).hex() == case["key"]


@given(st.text(max_size=12), st.lists(st.binary(max_size=40), min_size=1).filter(any), st.integers(1, 200))
def test_is_hkdf_over_prefixed_parts(label, parts, length):
    material = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    info = b"consilium/1 kdf\0" + length.to_bytes(2, "big") + label.encode()
    assert derive(label, *parts, length=length) == rfc5869(material, info, length)


def test_parts_cannot_be_confused():
    keys = [
        derive("a", b"xy", b"z"),
        derive("a", b"x", b"yz"),
        derive("a", b"xyz"),
        derive("a", b"xyz", b""),
        derive("a", b"", b"xyz"),
        derive("b", b"xyz"),
        derive("a", (1).to_bytes(8, "big") + b"x"),
        derive("a", b"x"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_short_key_is_not_the_beginning_of_a_long_one():
    assert derive("a", b"secret", length=64)[:32] != derive("a", b"secret", length=32)


@pytest.mark.parametrize("length", [0, -1, 255 * 32 + 1])
def test_length_is_checked(length):
    with pytest.raises(Misuse) as error:
        derive("a", b"secret", length=length)
    assert error.value.code == "kdf.length"


@pytest.mark.parametrize("parts", [(), (b"",), (b"", b"")])
def test_a_key_from_nothing_is_refused(parts):
    with pytest.raises(Misuse) as error:
        derive("a", *parts)
    assert error.value.code == "kdf.no_input"
