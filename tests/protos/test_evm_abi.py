"""The codec is eth_abi's but for the form of addresses."""

import pytest
from eth_abi.abi import decode as stock_decode
from eth_abi.abi import encode as stock_encode
from eth_abi.exceptions import DecodingError, EncodingError

from protos.evm_abi import decode, encode

ADDRESSES = [bytes(range(20)), b"\xff" * 20, bytes(20)]
TYPES = ["address", "address[]", "(uint32,address)[]", "bytes"]
VALUES = [ADDRESSES[0], ADDRESSES, [(7, ADDRESSES[1]), (8, ADDRESSES[2])], b"tail"]


def test_it_speaks_as_eth_abi_does() -> None:
    body = encode(TYPES, VALUES)
    assert body == stock_encode(TYPES, VALUES)
    assert decode(TYPES, body) == (ADDRESSES[0], tuple(ADDRESSES), tuple(VALUES[2]), b"tail")
    assert stock_decode(["address"], body)[0] == "0x" + ADDRESSES[0].hex()


@pytest.mark.parametrize("wrong", ["0x" + "00" * 20, bytes(19), bytes(21), bytearray(20), 0, None])
def test_an_address_is_twenty_bytes(wrong: object) -> None:
    with pytest.raises(EncodingError):
        encode(["address"], [wrong])


@pytest.mark.parametrize("body", [b"\x01" + bytes(31), bytes(31)])
def test_a_word_that_is_no_address(body: bytes) -> None:
    with pytest.raises(DecodingError):
        decode(["address"], body)
