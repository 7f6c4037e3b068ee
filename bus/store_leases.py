"""Leases on any Store with compare-and-set and times to live: both adapters hold theirs in the bucket LEASES.

A lease is a key whose value names the owner and the epoch. The epoch of a lease is the revision at which it was
acquired; the first write cannot know its own revision: epoch 0 stands for it. The epoch of a claim is what agents
remember and fence by, so it must outgrow also a bucket that was lost: it is counted in the value, and begins with the
wall clock's unix seconds, never with a revision.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from matrixinfer.bus.background import spawn
from matrixinfer.bus.clock import Clock, SystemClock
from matrixinfer.bus.contracts.codec import decode, encode
from matrixinfer.bus.errors import Conflict, LeaseLost, Malformed
from matrixinfer.bus.ports.leases import Lease
from matrixinfer.bus.ports.store import Entry, Store, Watch

logger = logging.getLogger("matrixinfer.bus.store_leases")

HoldersHandler = Callable[[dict[str, str]], Awaitable[None]]


class _Holding(msgspec.Struct, frozen=True, array_like=True):
    owner: str
    epoch: int = 0


class StoreLeases:
    """`clock` tells the wall-clock time below which no claim's epoch begins."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._unreadable: dict[str, int] = {}

    async def acquire(self, name: str, owner: str, *, ttl_s: float) -> Lease | None:
        try:
            epoch = await self._store.put(name, encode(_Holding(owner)), revision=0, ttl_s=ttl_s)
        except Conflict:
            return None
        return Lease(name, owner, epoch, epoch, ttl_s)

    async def renew(self, lease: Lease) -> Lease:
        value = encode(_Holding(lease.owner, lease.epoch))
        try:
            revision = await self._store.put(lease.name, value, revision=lease.revision, ttl_s=lease.ttl_s)
        except Conflict as error:
            revision = await self._own_write(lease, error)
        return Lease(lease.name, lease.owner, lease.epoch, revision, lease.ttl_s)

    async def release(self, lease: Lease) -> None:
        try:
            await self._delete(lease)
        except (Conflict, LeaseLost):
            logger.debug("lease %s was lost before %s released it", lease.name, lease.owner)

    async def claim(self, name: str, owner: str) -> int:
        while True:
            entry = await self._store.get(name)
            epoch = max(_epoch(entry) + 1, int(self._clock.now()))
            revision = entry.revision if entry is not None else 0
            try:
                await self._store.put(name, encode(_Holding(owner, epoch)), revision=revision)
            except Conflict:
                continue  # somebody else claimed it meanwhile: above that one's epoch
            return epoch

    async def holders(self, prefix: str) -> dict[str, str]:
        return self._holders(await self._store.entries(_tokens(prefix)), prefix)

    async def follow(self, prefix: str, handler: HoldersHandler) -> Callable[[], Awaitable[None]]:
        watch = await self._store.watch(_tokens(prefix))
        await handler(self._holders(watch.snapshot, prefix))
        task = spawn(self._follow(watch, prefix, handler), f"follow leases {prefix}")

        async def end() -> None:
            await watch.close()
            task.cancel()
            await asyncio.wait([task])

        return end

    async def _delete(self, lease: Lease) -> None:
        try:
            await self._store.delete(lease.name, revision=lease.revision)
        except Conflict as error:  # by a renewal that was given up half-way, perhaps
            await self._store.delete(lease.name, revision=await self._own_write(lease, error))

    async def _own_write(self, lease: Lease, error: Conflict) -> int:
        """A renewal whose answer was lost is ours all the same: the lease in the bucket names owner and epoch."""
        entry = await self._store.get(lease.name)
        if entry is not None and decode(entry.value, _Holding) == _Holding(lease.owner, lease.epoch):
            return entry.revision
        raise LeaseLost(f"lease {lease.name!r} of {lease.owner!r} (epoch {lease.epoch}) is lost: {error}") from error

    async def _follow(self, watch: Watch, prefix: str, handler: HoldersHandler) -> None:
        entries = dict(watch.snapshot)
        told = self._holders(entries, prefix)
        async for change in watch:
            if change.entry is None:
                entries.pop(change.key, None)
            else:
                entries[change.key] = change.entry
            now = self._holders(entries, prefix)
            if now == told:
                continue  # a renewal
            told = now
            try:
                await handler(dict(now))
            except Exception:
                logger.exception("the follower of leases %s failed", prefix)

    def _holders(self, entries: dict[str, Entry], prefix: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, entry in entries.items():
            if name.startswith(prefix):
                try:
                    found[name] = decode(entry.value, _Holding).owner
                except Malformed as error:
                    self._tell_of(entry, error)
        return found

    def _tell_of(self, entry: Entry, error: Malformed) -> None:
        """Once of each value: leases are looked at again and again."""
        if self._unreadable.get(entry.key) != entry.revision:
            self._unreadable[entry.key] = entry.revision
            logger.warning("lease %s cannot be read: %s", entry.key, error)


def _epoch(entry: Entry | None) -> int:
    """What a claim must outgrow. One that cannot be read is outgrown by the time alone."""
    if entry is None:
        return 0
    try:
        return decode(entry.value, _Holding).epoch
    except Malformed as error:
        logger.warning("claim %s cannot be read and is replaced: %s", entry.key, error)
        return 0


def _tokens(prefix: str) -> str:
    """The whole tokens of a textual prefix: what a store can be asked for."""
    return prefix.rpartition(".")[0]
