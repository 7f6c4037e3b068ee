"""A dead letter: what no retry could deliver, with the reason, for an operator to read."""

from __future__ import annotations

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION


class DeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """`at` is unix seconds; `data` is the message as it was stored in `stream` under `subject`."""

    stream: str
    subject: str
    message_id: str
    reason: str
    at: float
    data: bytes
    version: int = CONTRACT_VERSION
