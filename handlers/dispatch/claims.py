"""Who else dispatches, and who claimed what: the leases and claims in LEASES as they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.tenure import HOLDERS

logger = logging.getLogger("matrixinfer.dispatch.claims")

_CLAIMS = "pool."
_AGAIN_AFTER_S = 0.5

HoldersHandler = Callable[[dict[str, str]], Awaitable[None]]


class Claims:
    """`dispatchers` are the owners of the live leases, None as long as they are not known. `on_change` is called after
    every change of leases or claims."""

    def __init__(self, bus: Bus, owner: str, on_change: Callable[[], None]) -> None:
        self._bus = bus
        self._owner = owner
        self._on_change = on_change
        self._claims: dict[str, str] = {}
        self.dispatchers: frozenset[str] | None = None

    async def run(self) -> None:
        """Follow for ever."""
        ends = [await self._follow(HOLDERS, self._on_holders), await self._follow(_CLAIMS, self._on_claims)]
        try:
            await asyncio.Event().wait()
        finally:
            for end in ends:
                await end()

    async def outlived(self, served: Iterable[PoolShard]) -> set[PoolShard]:
        """Those of `served` that somebody else has claimed since. A doubt is checked: what was heard may be old."""
        doubtful = [shard for shard in served if self._claims.get(shard.claim_name, self._owner) != self._owner]
        if not doubtful:
            return set()
        try:
            claims = await self._bus.leases.holders(_CLAIMS)
        except BusError as error:
            logger.warning("whether a claim was outlived cannot be found out yet: %s", error)
            return set()
        return {shard for shard in doubtful if claims.get(shard.claim_name, self._owner) != self._owner}

    async def _on_holders(self, holders: dict[str, str]) -> None:
        self.dispatchers = frozenset(holders.values())
        self._on_change()

    async def _on_claims(self, claims: dict[str, str]) -> None:
        self._claims = claims
        self._on_change()

    async def _follow(self, prefix: str, handler: HoldersHandler) -> Callable[[], Awaitable[None]]:
        while True:
            try:
                return await self._bus.leases.follow(prefix, handler)
            except BusError as error:
                logger.warning("cannot follow the leases %s* yet: %s", prefix, error)
                await self._bus.clock.sleep(_AGAIN_AFTER_S)
