"""What the watcher finds in SERVING when it looks at everything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.ports import Consumer, Delivery
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.reconcile.watch import Watcher

RESYNC_S = 5.0
OURS = ("pool.default.a", "pod.default.b.p-0", "route.default.c")
STRANGE = ("adapter.default.x", "adapter.default.x.y.z", "pool.default", "pod.default.b", "route", "pool.a=b.c")


@asynccontextmanager
async def watcher():
    clock = ManualClock()
    bus = MemoryBroker(clock).connect()
    for entry in (*OURS, *STRANGE):
        await bus.store("SERVING").put(entry, b"")
    running = asyncio.create_task(Watcher(bus, await LocalCluster.open(bus), resync_s=RESYNC_S).run())
    try:
        yield bus, clock, running
    finally:
        running.cancel()
        await asyncio.wait([running])
        await bus.link.close()


async def test_entries_of_another_version_are_left_out_and_the_others_are_reconciled():
    posted: set[str] = set()

    async def note(delivery: Delivery) -> None:
        posted.add(delivery.subject.split(".", 3)[3])

    async with watcher() as (bus, clock, running):
        reader = Consumer("RECONCILE", "reader", f"{bus.subjects.prefix}.reconcile.>", 60.0, 100)
        consumption = await bus.queue.consume(reader, note, credits=100)
        await clock.advance(0.1)
        assert posted == {"ModelServer.default.a", "ModelServer.default.b", "ModelRoute.default.c"}
        assert not running.done()
        await consumption.stop()


async def test_entries_of_another_version_are_told_once_and_a_new_one_again(caplog):
    async with watcher() as (bus, clock, _):
        for _ in range(3):
            await clock.advance(RESYNC_S + 0.1)
        (first,) = caplog.messages
        assert first.endswith(
            "adapter.default.x, adapter.default.x.y.z, pod.default.b, pool.a=b.c, pool.default and 1 more"
        )
        await bus.store("SERVING").put("adapter.default.new", b"")
        for _ in range(3):
            await clock.advance(RESYNC_S + 0.1)
        assert len(caplog.messages) == 2
