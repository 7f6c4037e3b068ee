"""Freezing one process of several in a test: time and messages go on, it notices nothing until it is thawed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.ports import (
    Change,
    Consumer,
    Consumption,
    Leases,
    Queue,
    Signals,
    Store,
    Subscription,
    Watch,
)
from matrixinfer.bus.ports.queue import DeliveryHandler
from matrixinfer.bus.ports.signals import SignalHandler

T = TypeVar("T")


class Gate:
    """Between a process and all that wakes it up: its clock, its messages, the leases of others."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()

    def close(self) -> None:
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    def around(self, bus: Bus) -> Bus:
        return replace(
            bus,
            clock=GatedClock(bus.clock, self._opened),
            signals=GatedSignals(bus.signals, self),
            queue=GatedQueue(bus.queue, self),
            leases=GatedLeases(bus.leases, self),
            store=lambda bucket: GatedStore(bus.store(bucket), self._opened),
        )

    def gated(self, handler: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
        async def wait_and_handle(message: T) -> None:
            await self._opened.wait()
            await handler(message)

        return wait_and_handle


class GatedClock:
    def __init__(self, clock: Clock, opened: asyncio.Event) -> None:
        self.now = clock.now
        self.monotonic = clock.monotonic
        self._clock = clock
        self._opened = opened

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        await self._opened.wait()


class GatedSignals:
    def __init__(self, signals: Signals, gate: Gate) -> None:
        self.publish = signals.publish
        self.request = signals.request
        self._signals = signals
        self._gate = gate

    async def subscribe(self, subject: str, handler: SignalHandler, *, group: str = "") -> Subscription:
        return await self._signals.subscribe(subject, self._gate.gated(handler), group=group)


class GatedQueue:
    def __init__(self, queue: Queue, gate: Gate) -> None:
        self.post = queue.post
        self.post_later = queue.post_later
        self.bury = queue.bury
        self.remove = queue.remove
        self.backlog = queue.backlog
        self._queue = queue
        self._gate = gate

    async def consume(self, consumer: Consumer, handler: DeliveryHandler, *, credits: int) -> Consumption:
        return await self._queue.consume(consumer, self._gate.gated(handler), credits=credits)


class GatedStore:
    def __init__(self, store: Store, opened: asyncio.Event) -> None:
        self.get = store.get
        self.put = store.put
        self.delete = store.delete
        self.entries = store.entries
        self._store = store
        self._opened = opened

    async def watch(self, prefix: str = "") -> Watch:
        return GatedWatch(await self._store.watch(prefix), self._opened)


class GatedWatch:
    def __init__(self, watch: Watch, opened: asyncio.Event) -> None:
        self.snapshot = watch.snapshot
        self.close = watch.close
        self._watch = watch
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Change]:
        async for change in self._watch:
            await self._opened.wait()
            yield change


class GatedLeases:
    def __init__(self, leases: Leases, gate: Gate) -> None:
        self.acquire = leases.acquire
        self.renew = leases.renew
        self.release = leases.release
        self.claim = leases.claim
        self.holders = leases.holders
        self._leases = leases
        self._gate = gate

    async def follow(
        self, prefix: str, handler: Callable[[dict[str, str]], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        return await self._leases.follow(prefix, self._gate.gated(handler))
