"""Publishes what the diary has to say. An event that is lost is not sent again: who listens notices, and asks."""

from __future__ import annotations

import logging

from matrixinfer.agents.worker.cache_diary import CacheDiary
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.errors import BusError

log = logging.getLogger("matrixinfer.agents.cache")

TELL_EVERY_S = 0.1


class CachePublisher:
    def __init__(self, bus: Bus, identity: Identity, diary: CacheDiary) -> None:
        self._bus = bus
        self._diary = diary
        self._subject = bus.subjects.cache(identity.namespace, identity.pod)

    async def tell(self) -> None:
        """To be called every TELL_EVERY_S."""
        event = self._diary.compose(self._bus.clock.monotonic())
        if event is None:
            return
        try:
            await self._bus.signals.publish(self._subject, encode(event))
        except BusError as error:
            log.debug("cache event %d is lost: %s", event.sequence, error)
