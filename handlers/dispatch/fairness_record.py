"""What each tenant of a shard has had, kept beside its claim: a takeover goes on in the same order."""

from __future__ import annotations

import logging
import math

import msgspec

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import CONTRACT_VERSION, decode, encode
from matrixinfer.bus.errors import BusError, Malformed, TooLarge
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
MOST_TENANTS = 1000

_WORTH_WRITING = 1 / 8
"""Of a quantum: a smaller move of a counter changes hardly any turn."""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    epoch: int
    snapshot: FairnessSnapshot
    version: int = CONTRACT_VERSION


class FairnessRecord:
    """Of one pool's shard: an entry of the bucket REIGNS, written by whoever reigns, beside everything else."""

    def __init__(self, bus: Bus, shard: PoolShard, queue: FairQueue, background: Background) -> None:
        self._store = bus.store("REIGNS")
        self._key = key("fairness", shard.namespace, shard.modelserver, str(shard.shard))
        self._queue = queue
        self._background = background
        self._most_tenants = MOST_TENANTS
        self._kept = FairnessSnapshot()
        self._kept_at = -math.inf
        self._due_at = 0.0
        self._is_writing = False

    async def recall(self) -> None:
        """Go on from the predecessor's accounts; to be called while the queue is empty. Raises Unavailable."""
        record = _read(await self._store.get(self._key))
        if record is not None:
            self._queue.restore(record.snapshot)

    def tick(self, epoch: int, now: float) -> None:
        """Have the accounts written down when they moved, unless that is being done."""
        if now < self._due_at or self._is_writing:
            return
        self._due_at = now + KEEP_EVERY_S
        snapshot = self._queue.snapshot(self._most_tenants)
        if self._is_worth_writing(snapshot, now):
            self._is_writing = True
            self._background.spawn(self._write(epoch, snapshot, now), f"writing {self._key}")

    def _is_worth_writing(self, snapshot: FairnessSnapshot, now: float) -> bool:
        """A pool at rest writes nothing, but for what would be too old to be kept soon."""
        before, after = _counters(self._kept), _counters(snapshot)
        if before.keys() != after.keys():
            return True
        if not after:
            return False
        moves = [abs(after[tenant] - before[tenant]) for tenant in after]
        most = max(*moves, abs(snapshot.level - self._kept.level))
        return most > _WORTH_WRITING * self._queue.quantum_tokens or now - self._kept_at > KEPT_S / 2

    async def _write(self, epoch: int, snapshot: FairnessSnapshot, now: float) -> None:
        """Not over a later reign's. Failing is logged: the successor then begins with older ones."""
        try:
            entry = await self._store.get(self._key)
            record = _read(entry)
            if record is not None and record.epoch > epoch:
                return
            revision = entry.revision if entry is not None else 0
            await self._store.put(self._key, encode(_Record(epoch, snapshot)), revision=revision, ttl_s=KEPT_S)
            self._kept, self._kept_at = snapshot, now
        except TooLarge as error:
            self._keep_fewer(snapshot, error)
        except BusError as error:
            logger.warning("%s: the accounts could not be noted for a successor: %s", self._key, error)
        finally:
            self._is_writing = False

    def _keep_fewer(self, snapshot: FairnessSnapshot, error: TooLarge) -> None:
        """From the next time on."""
        tenants = max(len(_counters(snapshot)), len(snapshot.tenant_output_tokens))
        if self._most_tenants == MOST_TENANTS:
            logger.warning(
                "%s: the accounts of %d tenants are too much for one entry, those for whom it matters less are left "
                "out from now on: %s",
                self._key,
                tenants,
                error,
            )
        self._most_tenants = max(1, min(self._most_tenants, tenants) // 2)


def _counters(snapshot: FairnessSnapshot) -> dict[str, float]:
    return {**snapshot.idle, **snapshot.waiting}


def _read(entry: Entry | None) -> _Record | None:
    if entry is None:
        return None
    try:
        return decode(entry.value, _Record)
    except Malformed as error:
        logger.error("%s in REIGNS cannot be read and is replaced: %s", entry.key, error)
        return None
