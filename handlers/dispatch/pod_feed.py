"""Events of all agents come by one subscription for each kind; each goes to the pools of this process that know its
pod."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.cache import CacheEvent
from matrixinfer.bus.contracts.load import LoadEvent
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.ports import Signal, Subscription
from matrixinfer.handlers.dispatch.pool import PoolDispatcher

logger = logging.getLogger("matrixinfer.dispatch.pod_feed")

Event = TypeVar("Event", LoadEvent, CacheEvent)


class PodFeed(Generic[Event]):
    """Events of other dispatchers' pods are not even decoded. `subject_of` names a pod's subject, `hear` gives an event
    to a pool."""

    def __init__(
        self,
        bus: Bus,
        kind: type[Event],
        everything: str,
        subject_of: Callable[[str, str], str],
        hear: Callable[[PoolDispatcher, Event], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._kind: type[Event] = kind
        self._everything = everything
        self._subject_of = subject_of
        self._hear: Callable[[PoolDispatcher, Event], Awaitable[None]] = hear
        self._readers: dict[str, list[PoolDispatcher]] = {}

    async def open(self) -> Subscription:
        return await self._bus.signals.subscribe(self._everything, self._on_event)

    def route(self, pools: Iterable[PoolDispatcher]) -> None:
        """Whose pods to listen to from now on."""
        readers: dict[str, list[PoolDispatcher]] = {}
        for pool in pools:
            for pod in pool.state.fleet.pods:
                readers.setdefault(self._subject_of(pool.shard.namespace, pod), []).append(pool)
        self._readers = readers

    async def _on_event(self, signal: Signal) -> None:
        pools = self._readers.get(signal.subject)
        if not pools:
            return
        try:
            event = decode(signal.data, self._kind)
        except Malformed as error:
            logger.error("an event on %s cannot be read: %s", signal.subject, error)
            return
        for pool in pools:
            await self._hear(pool, event)


def load_feed(bus: Bus) -> PodFeed[LoadEvent]:
    return PodFeed(bus, LoadEvent, bus.subjects.load_filter(), bus.subjects.load, PoolDispatcher.heard)


def cache_feed(bus: Bus) -> PodFeed[CacheEvent]:
    return PodFeed(bus, CacheEvent, bus.subjects.cache_filter(), bus.subjects.cache, PoolDispatcher.heard_cache)
