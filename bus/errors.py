"""What can go wrong on the bus. Errors of nats-py are translated here and chained; nothing above the bus sees them.

BusError
├── Unavailable        no connection, or the server does not answer: try again
├── NobodyThere        a request found no subscriber
├── TimedOut           a subscriber exists but did not answer in time
├── QueueFull          the subject's bound is reached: refuse, do not wait
├── TooLarge           the message is over the server's or the stream's limit
├── Conflict           a compare-and-set met another revision
├── LeaseLost          the lease ran out or was taken over
├── Denied             the server's permissions forbid this subject
├── Malformed          a subject or a message that cannot be read
├── Incompatible       the server is too old, or has no JetStream
└── Misconfigured      the file with the settings cannot be read

Verdict (raised by handlers of work, never by the bus)
├── Retry(after_s)     try the same work again later
└── Reject(reason)     never try again: dead letter
"""

from __future__ import annotations


class BusError(Exception):
    """Base of everything the bus raises."""


class Unavailable(BusError):
    """The connection is down or the server does not answer."""


class NobodyThere(BusError):
    """A request found no subscriber on its subject."""


class TimedOut(BusError):
    """Somebody subscribes to the subject, but no answer came in time."""


class QueueFull(BusError):
    """The bound of the subject is reached; the message was not stored."""


class TooLarge(BusError):
    """The message is larger than the server or the stream takes."""


class Conflict(BusError):
    """A compare-and-set expected one revision and met another."""


class LeaseLost(BusError):
    """The lease is no longer this owner's."""


class Denied(BusError):
    """The server's permissions forbid the subject to this user."""


class Malformed(BusError):
    """A subject or message does not have the shape that its contract says."""


class Incompatible(BusError):
    """The server cannot carry this bus; the message names what is missing."""


class Misconfigured(BusError):
    """The file with the settings cannot be read, or says what no process knows."""


class Verdict(Exception):
    """A handler's decision about the work it was given."""


class Retry(Verdict):
    """Try the same work again after `after_s` seconds."""

    def __init__(self, after_s: float, reason: str = "") -> None:
        super().__init__(f"retry after {after_s:g} s: {reason}" if reason else f"retry after {after_s:g} s")
        self.after_s = after_s
        self.reason = reason


class Reject(Verdict):
    """This work can never succeed; it becomes a dead letter with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
