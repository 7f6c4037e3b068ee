"""Keeps the catalog equal to the bucket SERVING."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Watch
from matrixinfer.handlers.dispatch.catalog import Catalog

logger = logging.getLogger("matrixinfer.dispatch.serving_watch")

_AGAIN_AFTER_S = 1.0

Setter = Callable[[str, bytes | None], None]


class ServingWatch:
    """`on_change` is called after every change of the catalog."""

    def __init__(self, bus: Bus, catalog: Catalog, on_change: Callable[[], None]) -> None:
        self._bus = bus
        self._catalog = catalog
        self._on_change = on_change

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("pool", self._catalog.set_pool))
            group.create_task(self._follow("pod", self._catalog.set_pod))

    async def _follow(self, prefix: str, setter: Setter) -> None:
        known: set[str] = set()
        while True:
            try:
                watch = await self._bus.store("SERVING").watch(prefix)
            except BusError as error:
                logger.warning("cannot watch %s in SERVING yet: %s", prefix, error)
            else:
                await self._apply(watch, setter, known)
            await self._bus.clock.sleep(_AGAIN_AFTER_S)

    async def _apply(self, watch: Watch, setter: Setter, known: set[str]) -> None:
        """Until the watch ends; `known` are the keys that were there, for the next one."""
        for gone in known - watch.snapshot.keys():
            self._set(setter, gone, None)
        for key, entry in watch.snapshot.items():
            self._set(setter, key, entry.value)
        known |= watch.snapshot.keys()
        self._on_change()
        try:
            async for change in watch:
                self._set(setter, change.key, None if change.entry is None else change.entry.value)
                known.add(change.key)
                self._on_change()
        finally:
            await watch.close()

    def _set(self, setter: Setter, key: str, value: bytes | None) -> None:
        try:
            setter(key, value)
        except (Malformed, ValueError) as error:
            logger.error("%s in SERVING is left out: %s", key, error)
