"""The server's error codes as the bus's errors."""

from __future__ import annotations

from matrixinfer.bus.errors import BusError, Conflict, Incompatible, QueueFull, TooLarge, Unavailable

STREAM_NOT_FOUND = 10059
STREAM_EXISTS = 10058
CONSUMER_NOT_FOUND = 10014
NO_MESSAGE_FOUND = 10037
OVERLAPPING_CONSUMER = frozenset({10099, 10100})

_STORE_FAILED = 10077
_NO_COPIES = 10074
_NOT_NOW = 503

_MEANINGS: dict[int, type[BusError]] = {
    10023: QueueFull,  # the server's JetStream limits are reached
    10028: QueueFull,
    10047: QueueFull,
    10039: Incompatible,
    _NO_COPIES: Incompatible,
    10076: Incompatible,
    10054: TooLarge,
    10071: Conflict,
    10164: Conflict,
}

_ADVICE = {
    _NO_COPIES: "one server keeps one copy: set MATRIXINFER_BUS_REPLICAS to 1, or use a cluster of as many servers",
}


class Refused(BusError):
    """The server understood and said no; `code` is JetStream's own number."""

    def __init__(self, code: int, description: str, what: str) -> None:
        super().__init__(f"{what}: the NATS server answered {description!r} (error {code})")
        self.code = code
        self.description = description


class StreamMissing(Refused, Unavailable):
    """The stream is not there: it was never declared, or a restart lost it and nobody has declared it again yet."""


def refusal(code: int, description: str, what: str, *, status: int = 0) -> BusError:
    """The error for a refusal of `what`; Refused where the ports have no word of their own for it. `status` is the
    coarse, HTTP-like code."""
    text = f"{what}: {description}" + (f"; {_ADVICE[code]}" if code in _ADVICE else "")
    if code == _STORE_FAILED:
        # one code for the stream's bounds and for a broken store; only the words tell them apart
        return QueueFull(text) if "maximum" in description else Unavailable(text)
    meaning = _MEANINGS.get(code)
    if meaning is not None:
        return meaning(text)
    if code == STREAM_NOT_FOUND:
        return StreamMissing(code, description, what)
    return Unavailable(text) if status == _NOT_NOW else Refused(code, description, what)
