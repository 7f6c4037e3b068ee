"""The server's error codes as the bus's errors."""

from __future__ import annotations

from matrixinfer.bus.errors import BusError, Conflict, Incompatible, QueueFull, TooLarge, Unavailable

STREAM_NOT_FOUND = 10059
STREAM_EXISTS = 10058
CONSUMER_NOT_FOUND = 10014
NO_MESSAGE_FOUND = 10037
OVERLAPPING_CONSUMER = frozenset({10099, 10100})
NO_JETSTREAM = frozenset({10039, 10076})

_MESSAGE_TOO_LARGE = 10054
_STORE_FAILED = 10077
_OUT_OF_STORE = frozenset({10023, 10028, 10047})
_WRONG_SEQUENCE = frozenset({10071, 10164})


class Refused(BusError):
    """The server understood and said no; `code` is JetStream's own number."""

    def __init__(self, code: int, description: str, what: str) -> None:
        super().__init__(f"{what}: the NATS server answered {description!r} (error {code})")
        self.code = code
        self.description = description


def refusal(code: int, description: str, what: str) -> BusError:
    """The error for a refusal of `what`; Refused where the ports have no word of their own for it."""
    text = f"{what}: {description}"
    if code == _STORE_FAILED:
        # one code for the stream's bounds and for a broken store; only the words tell them apart
        return QueueFull(text) if "maximum" in description else Unavailable(text)
    if code in _OUT_OF_STORE:
        return QueueFull(f"{text}: the server's JetStream limits are reached")
    if code == _MESSAGE_TOO_LARGE:
        return TooLarge(text)
    if code in _WRONG_SEQUENCE:
        return Conflict(text)
    if code in NO_JETSTREAM:
        return Incompatible(f"{text}: start the server with JetStream")
    return Refused(code, description, what)
