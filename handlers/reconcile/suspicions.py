"""What the dispatchers note in REIGNS about caches that are not as the index says: known here, a change tells."""

from __future__ import annotations

import logging
from collections.abc import Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.dispatch import SUSPICIONS, CacheSuspicion, CacheSuspicions
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Watch
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.reconcile.triggers import Key

logger = logging.getLogger("matrixinfer.handlers.reconcile.suspicions")

RETRY_S = 1.0
_NAMES = 4
"""Of a key: family, namespace, ModelServer, shard."""


class SuspicionWatch:
    """Every handlers process runs one, so that a reconcile reads nothing more. `on_change` is called with the
    ModelServer of which something else is suspected than before, and with what makes this change another than the last;
    `on_known` when what is there has been read."""

    def __init__(self, bus: Bus, on_change: Callable[[Key, str], None], on_known: Callable[[], None]) -> None:
        self._bus = bus
        self._on_change = on_change
        self._on_known = on_known
        self._by_shard: dict[tuple[str, str], dict[str, list[CacheSuspicion]]] | None = None
        self._changes = 0

    def of(self, namespace: str, modelserver: str) -> list[CacheSuspicion] | None:
        """Of all shards, by the pods' names, each once. None: not known yet."""
        if self._by_shard is None:
            return None
        shards = self._by_shard.get((namespace, modelserver), {})
        found = {one.pod: one for shard in sorted(shards) for one in shards[shard]}
        return [found[pod] for pod in sorted(found)]

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            try:
                watch = await self._bus.store("REIGNS").watch(SUSPICIONS)
            except BusError as error:
                logger.warning("cannot watch %s in REIGNS yet: %s", SUSPICIONS, error)
            else:
                await self._follow(watch)
            await self._bus.clock.sleep(RETRY_S)

    async def _follow(self, watch: Watch) -> None:
        self._by_shard = {}
        for key, entry in watch.snapshot.items():
            self._set(key, entry.value)
        self._on_known()
        try:
            async for change in watch:
                changed = self._set(change.key, change.entry.value if change.entry is not None else None)
                if changed is not None:
                    self._changes += 1
                    self._on_change(changed, f"{SUSPICIONS}:{self._changes}")
        finally:
            await watch.close()

    def _set(self, key: str, value: bytes | None) -> Key | None:
        """The ModelServer of which now something else is known."""
        try:
            names = parse_key(key)
            if len(names) != _NAMES:
                raise Malformed(f"expected {_NAMES} names, met {len(names)}")
            noted = decode(value, CacheSuspicions).suspicions if value is not None else []
        except Malformed as error:
            logger.error("%s in REIGNS is left out: %s", key, error)
            return None
        _, namespace, modelserver, shard = names
        before = self.of(namespace, modelserver)
        if self._by_shard is not None:
            self._by_shard.setdefault((namespace, modelserver), {})[shard] = noted
        if self.of(namespace, modelserver) == before:
            return None
        return Key("ModelServer", namespace, modelserver)
