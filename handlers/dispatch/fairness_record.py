"""What each tenant of a shard has had, kept beside its claim: a takeover goes on in the same order."""

from __future__ import annotations

import logging

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import CONTRACT_VERSION, decode, encode
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Entry
from matrixinfer.bus.subjects import key
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.fair.accounts import FairnessSnapshot
from matrixinfer.handlers.dispatch.fair.queue import FairQueue

logger = logging.getLogger("matrixinfer.dispatch.fairness_record")

KEEP_EVERY_S = 2.0
"""What a killed dispatcher loses of its accounts: less than a quantum of most tenants."""
KEPT_S = 3600.0
"""A pool that nobody serves for so long begins anew."""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    epoch: int
    snapshot: FairnessSnapshot
    version: int = CONTRACT_VERSION


class FairnessRecord:
    """Of one pool's shard: an entry of the bucket REIGNS, written by whoever reigns."""

    def __init__(self, bus: Bus, shard: PoolShard, queue: FairQueue) -> None:
        self._store = bus.store("REIGNS")
        self._key = key("fairness", shard.namespace, shard.modelserver, str(shard.shard))
        self._queue = queue
        self._kept = FairnessSnapshot()
        self._due_at = 0.0

    async def recall(self) -> None:
        """Go on from the predecessor's accounts; to be called while the queue is empty. Raises Unavailable."""
        record = _read(await self._store.get(self._key))
        if record is not None:
            self._queue.restore(record.snapshot)

    async def tick(self, epoch: int, now: float) -> None:
        """Write the accounts down when they changed, unless a later reign has begun. Failing is logged: the successor
        then begins with older ones."""
        if now < self._due_at:
            return
        self._due_at = now + KEEP_EVERY_S
        snapshot = self._queue.snapshot()
        if snapshot == self._kept:
            return
        try:
            entry = await self._store.get(self._key)
            record = _read(entry)
            if record is not None and record.epoch > epoch:
                return
            revision = entry.revision if entry is not None else 0
            await self._store.put(self._key, encode(_Record(epoch, snapshot)), revision=revision, ttl_s=KEPT_S)
            self._kept = snapshot
        except BusError as error:
            logger.warning("%s: the accounts could not be noted for a successor: %s", self._key, error)


def _read(entry: Entry | None) -> _Record | None:
    if entry is None:
        return None
    try:
        return decode(entry.value, _Record)
    except Malformed as error:
        logger.error("%s in REIGNS cannot be read and is replaced: %s", entry.key, error)
        return None
