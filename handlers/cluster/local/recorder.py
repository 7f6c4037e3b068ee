"""Events on the local cluster: in OBJECTS like everything, with a time to live, and bounded in number."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.errors import BusError, Conflict
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.cluster.events import TTL_S, Budget, again
from matrixinfer.handlers.cluster.local import merge
from matrixinfer.handlers.cluster.local.cache import Cache

logger = logging.getLogger("matrixinfer.handlers.cluster.local.recorder")

MOST_EVENTS = 2000
"""In the bucket; the oldest goes when another comes. More than people read, and some MB."""
ATTEMPTS = 5


class Recorder:
    def __init__(self, bus: Bus, cache: Cache, new_uid: Callable[[], str], *, most_events: int = MOST_EVENTS) -> None:
        self._clock = bus.clock
        self._store = bus.store("OBJECTS")
        self._cache = cache
        self._new_uid = new_uid
        self._most_events = most_events
        self._budget = Budget()

    async def record(self, event: Event) -> None:
        """Never raises because of the bus."""
        about = event.involved_object
        if not self._budget.allows(about.uid, self._clock.now()):
            logger.debug("an Event about %s %s/%s is one too many", about.kind, about.namespace, about.name)
            return
        try:
            await self._write(event)
            await self._make_room()
        except BusError as error:
            logger.warning("an Event was not written: %s: %s (%s)", event.reason, event.message, error)

    async def _write(self, event: Event) -> None:
        key = object_key(*event.key)
        for _ in range(ATTEMPTS):
            entry = await self._store.get(key)
            if entry is None:
                body = merge.created(event.to_json(), uid=self._new_uid(), now=self._clock.now())
            else:
                before = json.loads(entry.value)
                body = before | again(Event.read(before), event).to_json() | {"metadata": before["metadata"]}
            value = json.dumps(body, separators=(",", ":")).encode()
            try:
                await self._store.put(key, value, revision=entry.revision if entry else 0, ttl_s=TTL_S)
            except Conflict:
                continue
            return

    async def _make_room(self) -> None:
        events = [event for event in self._cache.select("Event", None, {}) if isinstance(event, Event)]
        events.sort(key=lambda event: event.last_timestamp or "")
        for event in events[: max(0, len(events) - self._most_events)]:
            await self._store.delete(object_key(*event.key))
