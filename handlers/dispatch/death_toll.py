"""The deaths that a shard's requests have met, kept beside its claim, so that a takeover does not start counting anew.

Deaths are rare: each time some are counted, all that still matter are written as one value.
"""

from __future__ import annotations

import logging

import msgspec

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import CONTRACT_VERSION, decode, encode
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Entry
from matrixinfer.bus.subjects import key
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.recently import Recently
from matrixinfer.handlers.dispatch.request import RequestKey

logger = logging.getLogger("matrixinfer.dispatch.death_toll")

_MOST_KEPT = 4096


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    """`remaining_s` is counted from when it was written: clocks of two machines differ."""

    rid: str
    attempt: int
    deaths: int
    remaining_s: float


class _Toll(msgspec.Struct, frozen=True, array_like=True):
    epoch: int
    marks: list[_Mark]
    version: int = CONTRACT_VERSION


class DeathToll:
    """Of one pool's shard: an entry of the bucket REIGNS, which goes when its last request is past its deadline."""

    def __init__(self, bus: Bus, shard: PoolShard, background: Background) -> None:
        self._store = bus.store("REIGNS")
        self._key = key("deaths", shard.namespace, shard.modelserver, str(shard.shard))
        self._background = background
        self._next: tuple[Recently[RequestKey, int], int, float] | None = None
        self._is_writing = False

    async def recall(self, deaths: Recently[RequestKey, int], now: float) -> None:
        """Add what the predecessors counted. Raises Unavailable."""
        toll = _read(await self._store.get(self._key))
        for mark in toll.marks:
            request, until = (mark.rid, mark.attempt), now + mark.remaining_s
            deaths.remember(request, max(mark.deaths, deaths.get(request, now) or 0), until)

    def note(self, deaths: Recently[RequestKey, int], epoch: int, now: float) -> None:
        """Have it kept beside everything else: placing waits for no store. What comes meanwhile is written next."""
        self._next = (deaths, epoch, now)
        if not self._is_writing:
            self._is_writing = True
            self._background.spawn(self._write_all(), f"writing {self._key}")

    async def _write_all(self) -> None:
        try:
            while self._next is not None:
                (deaths, epoch, now), self._next = self._next, None
                await self.keep(deaths, epoch, now)
        finally:
            self._is_writing = False

    async def keep(self, deaths: Recently[RequestKey, int], epoch: int, now: float) -> None:
        """Write down `deaths` under this reign's epoch, unless a later reign has begun. Failing is logged: a death that
        is not remembered costs one agent more at worst."""
        marks = [_Mark(*request, count, until - now) for request, count, until in deaths.items(now)][-_MOST_KEPT:]
        try:
            entry = await self._store.get(self._key)
            if _read(entry).epoch > epoch or not marks:
                return
            ttl_s = max(1.0, *[mark.remaining_s for mark in marks])
            revision = entry.revision if entry is not None else 0
            await self._store.put(self._key, encode(_Toll(epoch, marks)), revision=revision, ttl_s=ttl_s)
        except BusError as error:
            logger.warning("%s: deaths could not be noted for a successor: %s", self._key, error)


def _read(entry: Entry | None) -> _Toll:
    if entry is None:
        return _Toll(0, [])
    try:
        return decode(entry.value, _Toll)
    except Malformed as error:
        logger.error("%s in REIGNS cannot be read and is replaced: %s", entry.key, error)
        return _Toll(0, [])
