"""What the watcher finds in SERVING when it looks at everything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.ports import Consumer, Delivery
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.reconcile.watch import RESYNC, Watcher

RESYNC_S = 5.0
OURS = ("pool.default.a", "pod.default.b.p-0", "route.default.c")
STRANGE = ("adapter.default.x", "adapter.default.x.y.z", "pool.default", "pod.default.b", "route", "pool.a=b.c")


@asynccontextmanager
async def watcher():
    clock = ManualClock()
    bus = MemoryBroker(clock).connect()
    for entry in (*OURS, *STRANGE):
        await bus.store("SERVING").put(entry, b"")
    watcher = Watcher(bus, await LocalCluster.open(bus), resync_s=RESYNC_S)
    running = asyncio.create_task(watcher.run())
    try:
        yield bus, clock, running, watcher
    finally:
        running.cancel()
        await asyncio.wait([running])
        await bus.link.close()


async def test_entries_of_another_version_are_left_out_and_the_others_are_reconciled():
    posted: set[str] = set()

    async def note(delivery: Delivery) -> None:
        posted.add(delivery.subject.split(".", 3)[3])

    async with watcher() as (bus, clock, running, _):
        reader = Consumer("RECONCILE", "reader", f"{bus.subjects.prefix}.reconcile.>", 60.0, 100)
        consumption = await bus.queue.consume(reader, note, credits=100)
        await clock.advance(0.1)
        assert posted == {"ModelServer.default.a", "ModelServer.default.b", "ModelRoute.default.c"}
        assert not running.done()
        await consumption.stop()


async def test_entries_of_another_version_are_told_once_and_a_new_one_again(caplog):
    async with watcher() as (bus, clock, _, looking):
        for _ in range(3):
            looking.look_at_everything()
            await clock.advance(0.1)
        (first,) = caplog.messages
        assert first.endswith(
            "adapter.default.x, adapter.default.x.y.z, pod.default.b, pool.a=b.c, pool.default and 1 more"
        )
        await bus.store("SERVING").put("adapter.default.new", b"")
        for _ in range(3):
            looking.look_at_everything()
            await clock.advance(0.1)
        assert len(caplog.messages) == 2


async def test_everything_is_looked_at_again_by_one_of_all_processes_as_the_bus_says():
    """Two watchers, and one reader in place of the handlers of both: it hears one tick for each period."""
    ticks: list[str] = []
    async with watcher() as (bus, clock, _, first):
        second = asyncio.create_task(Watcher(bus, await LocalCluster.open(bus), resync_s=RESYNC_S).run())
        subject = bus.subjects.reconcile(*RESYNC)

        async def note(delivery: Delivery) -> None:
            ticks.append(delivery.subject)
            again = first.on_resync()
            await (await bus.queue.post_later("RECONCILE", subject, b"", after_s=again.after_s, key=subject))
            await delivery.ack()

        consumption = await bus.queue.consume(Consumer("RECONCILE", "r", subject, 60.0, 100), note, credits=100)
        await clock.advance(RESYNC_S - 1)
        assert not ticks
        for expected in (1, 2, 3):
            await clock.advance(RESYNC_S)
            assert ticks == [subject] * expected
        await consumption.stop()
        second.cancel()
        await asyncio.wait([second])
