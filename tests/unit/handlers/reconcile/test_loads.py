"""What the reconcilers know of the agents' work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.reconcile.loads import SILENT_AFTER_S, LoadWatch

ONE, TWO = WorkKey("one", 1, 1), WorkKey("two", 1, 1)


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus: Bus = MemoryBroker(self.clock).connect()
        self.idle: list[str] = []
        self.watch = LoadWatch(self.bus, lambda namespace, pod: self.idle.append(f"{namespace}/{pod}"))

    async def hear(
        self, *, boot: str = "b", snapshot: Snapshot | None = None, started: WorkKey | None = None,
        finished: WorkKey | None = None,
    ) -> None:  # fmt: skip
        ends = [Finished(finished, "completed", True)] if finished else []
        event = LoadEvent("ns", "p", boot, 1, False, [started] if started else [], ends, snapshot)
        await self.bus.signals.publish(self.bus.subjects.load("ns", "p"), encode(event))
        await self.clock.advance(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    task = asyncio.create_task(rig.watch.run())
    await rig.clock.advance(0)
    yield rig
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_work_is_counted_by_snapshots_and_by_what_starts_and_ends(rig: Rig) -> None:
    await rig.hear(snapshot=Snapshot(4, running=[ONE], waiting=[TWO]))
    assert rig.watch.of("ns") == {"p": 2}
    assert rig.watch.of("other") == {}
    await rig.hear(finished=ONE)
    assert rig.watch.of("ns") == {"p": 1}
    assert rig.idle == []
    await rig.hear(finished=TWO)
    assert (rig.watch.of("ns"), rig.idle) == ({"p": 0}, ["ns/p"])
    await rig.hear(started=ONE)
    assert rig.watch.of("ns") == {"p": 1}


async def test_who_is_heard_to_be_idle_is_told_once(rig: Rig) -> None:
    for _ in range(3):
        await rig.hear(snapshot=Snapshot(4))
    assert rig.idle == ["ns/p"]
    await rig.hear(boot="another", snapshot=Snapshot(4))
    assert rig.idle == ["ns/p"] * 2


async def test_nothing_is_known_of_who_is_silent_until_it_speaks_again(rig: Rig) -> None:
    await rig.hear(snapshot=Snapshot(4))
    await rig.clock.advance(SILENT_AFTER_S)
    assert rig.watch.of("ns") == {}
    await rig.hear(snapshot=Snapshot(4))
    assert (rig.watch.of("ns"), rig.idle) == ({"p": 0}, ["ns/p"] * 2)


async def test_what_is_no_load_event_is_left_out(rig: Rig) -> None:
    await rig.bus.signals.publish(rig.bus.subjects.load("ns", "p"), b"\\xc1")
    await rig.clock.advance(0)
    await rig.hear(snapshot=Snapshot(4))
    assert rig.watch.of("ns") == {"p": 0}
