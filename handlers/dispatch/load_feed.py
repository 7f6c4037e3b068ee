"""Load events of all agents come by one subscription; each goes to the pools of this process that know its pod."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.load import LoadEvent
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.ports import Signal, Subscription
from matrixinfer.handlers.dispatch.pool import PoolDispatcher

logger = logging.getLogger("matrixinfer.dispatch.load_feed")


class LoadFeed:
    """Events of other dispatchers' pods are not even decoded."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._readers: dict[str, list[PoolDispatcher]] = {}

    async def open(self) -> Subscription:
        return await self._bus.signals.subscribe(self._bus.subjects.load_filter(), self._on_load)

    def route(self, pools: Iterable[PoolDispatcher]) -> None:
        """Whose pods to listen to from now on."""
        readers: dict[str, list[PoolDispatcher]] = {}
        for pool in pools:
            for pod in pool.state.fleet.pods:
                readers.setdefault(self._bus.subjects.load(pool.shard.namespace, pod), []).append(pool)
        self._readers = readers

    async def _on_load(self, signal: Signal) -> None:
        pools = self._readers.get(signal.subject)
        if not pools:
            return
        try:
            event = decode(signal.data, LoadEvent)
        except Malformed as error:
            logger.error("a load event on %s cannot be read: %s", signal.subject, error)
            return
        for pool in pools:
            await pool.heard(event)
