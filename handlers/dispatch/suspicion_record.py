"""At which pods of a shard the index of caches is not believed, kept beside its claim: reconcilers tell of it in a
condition, and the next dispatcher goes on from it."""

from __future__ import annotations

import logging
import math

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.dispatch import CacheSuspicion, CacheSuspicions, suspicions_key
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Entry
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches

logger = logging.getLogger("matrixinfer.dispatch.suspicion_record")

KEPT_S = 3600.0
"""What nobody confirms for so long is forgotten: its dispatcher is gone for good."""
_AGAIN_AFTER_S = 1.0

_Suspected = frozenset[tuple[str, str]]
"""Pods with their boots."""


class SuspicionRecord:
    """Of one pool's shard: an entry of the bucket REIGNS, which is there as long as some pod is suspected."""

    def __init__(self, bus: Bus, shard: PoolShard, caches: ToldCaches, background: Background) -> None:
        self._store = bus.store("REIGNS")
        self._key = suspicions_key(shard.namespace, shard.modelserver, shard.shard)
        self._caches = caches
        self._background = background
        self._kept: _Suspected = frozenset()
        self._kept_at = -math.inf
        self._due_at = 0.0
        self._is_writing = False

    async def recall(self, now: float) -> None:
        """Go on from the predecessor's. Raises Unavailable."""
        noted = _read(await self._store.get(self._key)).suspicions
        self._caches.recall(noted)
        self._kept, self._kept_at = _suspected(noted), now

    def tick(self, epoch: int, now: float) -> None:
        """Have it written down if other pods are suspected than before, or what is written grows old."""
        suspicions = self._caches.suspected()
        suspected = _suspected(suspicions)
        is_old = bool(suspected) and now - self._kept_at > KEPT_S / 2
        if (suspected != self._kept or is_old) and now >= self._due_at and not self._is_writing:
            self._is_writing = True
            self._due_at = now + _AGAIN_AFTER_S
            self._background.spawn(self._write(CacheSuspicions(epoch, suspicions), now), f"writing {self._key}")

    async def _write(self, noted: CacheSuspicions, now: float) -> None:
        """Not over a later reign's. What fails is tried again."""
        try:
            entry = await self._store.get(self._key)
            if _read(entry).epoch > noted.epoch:
                return
            if noted.suspicions:
                revision = entry.revision if entry is not None else 0
                await self._store.put(self._key, encode(noted), revision=revision, ttl_s=KEPT_S)
            elif entry is not None:
                await self._store.delete(self._key, revision=entry.revision)
            self._kept, self._kept_at = _suspected(noted.suspicions), now
        except BusError as error:
            logger.warning("%s: which caches are suspected could not be noted yet: %s", self._key, error)
        finally:
            self._is_writing = False


def _suspected(suspicions: list[CacheSuspicion]) -> _Suspected:
    return frozenset((one.pod, one.boot) for one in suspicions)


def _read(entry: Entry | None) -> CacheSuspicions:
    if entry is None:
        return CacheSuspicions(0, [])
    try:
        return decode(entry.value, CacheSuspicions)
    except Malformed as error:
        logger.error("%s in REIGNS cannot be read and is replaced: %s", entry.key, error)
        return CacheSuspicions(0, [])
