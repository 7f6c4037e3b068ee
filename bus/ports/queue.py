"""Work queues: stored until acknowledged, bounded, deduplicated, pulled with credits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from matrixinfer.bus.contracts.dead import DeadLetter


class Stored(NamedTuple):
    """The bus has it: position `sequence` of `stream`; `duplicate` when that message id was there before."""

    stream: str
    sequence: int
    duplicate: bool = False


@dataclass(frozen=True)
class Backlog:
    """`waiting` messages were not delivered yet, `unacknowledged` were."""

    waiting: int
    unacknowledged: int


@dataclass(frozen=True)
class Consumer:
    """A durable reader of the messages of `stream` whose subject matches `filter`.

    An unacknowledged message comes again after `ack_wait_s`, to this consumer's next reader. `exclusive` makes
    `consume` first delete every other consumer with the same filter: late acknowledgements sent through the deleted
    ones have no effect, and what they held is delivered anew. Of two exclusive consumers the one with the larger
    `epoch` stays: `consume` of an older one raises LeaseLost instead of deleting it.

    A reader of history (a stream that keeps what was read) begins with what was stored at `since`, unix seconds, or
    later; None: with the oldest. The server forgets the consumer when nobody has used it for `unused_s`.
    """

    stream: str
    name: str
    filter: str
    ack_wait_s: float
    max_ack_pending: int
    exclusive: bool = False
    epoch: int = 0
    since: float | None = None
    unused_s: float = 86_400.0


class Delivery(Protocol):
    """One message in hand. Exactly one of `ack`, `nak` ends it; sending the same verdict again does no harm.

    Verdicts are sent, not confirmed: after a broken connection the message may come again.
    """

    subject: str
    data: bytes
    message_id: str
    delivered: int
    """How often it was delivered, this time included, from 1."""
    age_s: float
    """Seconds between its storing and this delivery, by the server's clock where it tells, else 0."""

    async def ack(self) -> None:
        """Done: the message leaves the queue."""
        ...

    async def nak(self) -> None:
        """Not done: deliver it again, now."""
        ...

    async def in_progress(self) -> None:
        """Still working: start `ack_wait_s` anew."""
        ...


class Consumption(Protocol):
    """A running `consume`."""

    def grant(self, credits: int) -> None:
        """Allow `credits` more deliveries; each delivery takes one. Never raises; asks the server soon."""
        ...

    async def stop(self) -> None:
        """Take no more. Messages in hand stay in hand, and the durable consumer stays. Safe to call twice."""
        ...


DeliveryHandler = Callable[[Delivery], Awaitable[None]]


class Queue(Protocol):
    """Publishing to and pulling from the streams of the topology."""

    async def post(
        self, subject: str, data: bytes, *, message_id: str, ttl_s: float | None = None
    ) -> asyncio.Future[Stored]:
        """Send now; the future tells that it is stored. Returns once the bytes are buffered, in the caller's order.

        The future fails with QueueFull (the subject's bound), TooLarge, Unavailable (nothing answered in time),
        Denied. Posting the same `message_id` again within the stream's window stores nothing and is a success with
        `duplicate`; so after Unavailable the same post may be tried again. TooLarge may also be raised at once.
        After `ttl_s` (at least 1) the server drops the message by itself; None means the stream's own age.
        """
        ...

    async def post_later(
        self, stream: str, subject: str, data: bytes, *, after_s: float, key: str
    ) -> asyncio.Future[Stored]:
        """Put a message on `subject` of `stream` after `after_s` seconds, by the server's own schedule.

        A schedule with the same `key` takes the place of the former one. Survives this process.
        """
        ...

    async def consume(self, consumer: Consumer, handler: DeliveryHandler, *, credits: int) -> Consumption:
        """Deliver to `handler` as long as credits last; creates the durable consumer when it is not there.

        At most the server's 16 MiB come in one pull. Goes on by itself after a reconnect, after a restart of the
        server (also of one that lost its memory streams) and after the consumer was deleted by somebody else,
        except when that somebody was a successor with `exclusive`: then it stops for good, silently.
        """
        ...

    async def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter. Raises Unavailable when it could not be stored."""
        ...

    async def remove(self, stored: Stored) -> bool:
        """Delete a stored message that nobody acknowledged; False when it was no longer there."""
        ...

    async def backlog(self, consumer: Consumer) -> Backlog:
        """How much is waiting for `consumer`. Raises Unavailable."""
        ...
