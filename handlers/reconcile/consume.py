"""Keys on RECONCILE become calls of the loop: eight partitions, one key at a time in each, on any process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from matrixinfer.bus.app import ControlApp, Duty
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import Malformed, Reject
from matrixinfer.bus.ports import Consumer
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.subjects import RECONCILE_PARTITIONS, Subjects
from matrixinfer.bus.topology import ACK_WAIT_RECONCILE_S
from matrixinfer.handlers.reconcile.triggers import Key

Reconcile = Callable[[Key], Awaitable[None]]


def reconcile_app(bus: Bus, settings: BusSettings, reconcile: Reconcile) -> ControlApp:
    """`reconcile` says Retry and Reject as `Loop.reconcile` does."""

    async def handle(subject: str, _: bytes) -> None:
        await reconcile(_key(bus.subjects, subject))

    return ControlApp(bus, settings, [Duty(_consumer(bus, number), handle) for number in range(RECONCILE_PARTITIONS)])


def _consumer(bus: Bus, partition: int) -> Consumer:
    """One message in work in each partition, over all processes: so no object is in work twice."""
    return Consumer(
        stream="RECONCILE",
        name=f"reconcile-{partition}",
        filter=bus.subjects.reconcile_filter(partition),
        ack_wait_s=ACK_WAIT_RECONCILE_S,
        max_ack_pending=1,
    )


def _key(subjects: Subjects, subject: str) -> Key:
    try:
        _, kind, namespace, name = subjects.parse_reconcile(subject)
    except Malformed as error:
        raise Reject(str(error)) from error
    return Key(kind, namespace, name)
