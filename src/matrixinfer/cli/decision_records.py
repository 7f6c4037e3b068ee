"""Reads the records of decisions from the bus, the oldest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matrixinfer.bus.bus import Bus
    from matrixinfer.bus.ports import Delivery

STREAM = "DECISIONS"
_IN_HAND = 64
_ALL = 1_000_000
_POLL_S = 0.02
_UNUSED_S = 30.0
"""The server forgets the reader so long after the command has ended."""


async def read(bus: Bus, since: float, take: Callable[[bytes], None]) -> None:
    """Hand every encoded DecisionBatch that was stored at `since` (unix seconds) or later to `take`; returns when there
    is no more. Raises Unavailable."""
    from matrixinfer.bus.ids import new_boot_id
    from matrixinfer.bus.ports import Backlog, Consumer

    subject = bus.subjects.decision_filter()
    consumer = Consumer(STREAM, f"reader-{new_boot_id()}", subject, 60.0, _IN_HAND, since=since, unused_s=_UNUSED_S)

    async def on_delivery(delivery: Delivery) -> None:
        take(delivery.data)
        await delivery.ack()

    consumption = await bus.queue.consume(consumer, on_delivery, credits=_ALL)
    try:
        while await bus.queue.backlog(consumer) != Backlog(0, 0):
            await bus.clock.sleep(_POLL_S)
    finally:
        await consumption.stop()


def kept_s() -> float:
    """How long a record is kept, unless the stream is full before."""
    from matrixinfer.bus.topology import STREAMS

    return next(stream.max_age_s for stream in STREAMS if stream.name == STREAM)
