"""eth_abi, with addresses as 20 bytes both ways: its own turn each into text and back, at most of the cost."""

from __future__ import annotations

from typing import Any

from eth_abi import registry as _registry
from eth_abi.codec import ABICodec
from eth_abi.decoding import AddressDecoder
from eth_abi.encoding import AddressEncoder

_BYTES = 20


class _Encoder(AddressEncoder):
    encode_fn: Any = staticmethod(bytes)

    @classmethod
    def validate_value(cls, value: object) -> None:
        if not isinstance(value, bytes) or len(value) != _BYTES:
            cls.invalidate_value(value)


class _Decoder(AddressDecoder):
    decoder_fn: Any = staticmethod(bytes)


def _codec() -> ABICodec:
    stock: Any = _registry
    registry = stock.registry.copy()
    registry.unregister("address")
    registry.register(stock.BaseEquals("address"), _Encoder, _Decoder, label="address")
    return ABICodec(registry)


_CODEC = _codec()
encode, decode = _CODEC.encode, _CODEC.decode
