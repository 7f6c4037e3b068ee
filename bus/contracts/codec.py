"""msgpack in and out, with the bus's own error for what cannot be read."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any, TypeVar, cast

import msgspec

from matrixinfer.bus.errors import Malformed

CONTRACT_VERSION = 2

T = TypeVar("T")
encode = msgspec.msgpack.Encoder().encode


@functools.cache
def _decoder(kind: Hashable) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def decode(data: bytes, kind: type[T]) -> T:
    """The message in `data`. Raises Malformed, naming the contract and what is wrong."""
    try:
        return cast(T, _decoder(cast(Any, kind)).decode(data))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Malformed(f"expected the message {getattr(kind, '__name__', kind)}: {error}") from error
