"""The dispatcher process: holds a lease, serves the shards that fall to it, and lets go of those that do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.ids import new_boot_id
from matrixinfer.handlers.dispatch.assignment import PoolShard, owned_by
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.cache_inquiry import CacheInquiry
from matrixinfer.handlers.dispatch.catalog import Catalog, PoolName
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.claims import Claims
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.gateway_watch import GatewayWatch
from matrixinfer.handlers.dispatch.outbox import Outbox
from matrixinfer.handlers.dispatch.pod_feed import cache_feed, load_feed
from matrixinfer.handlers.dispatch.pool import PoolDispatcher
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.scheduling.live import LiveScheduler
from matrixinfer.handlers.dispatch.serving_watch import ServingWatch
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from matrixinfer.handlers.dispatch.tenure import Tenure
from matrixinfer.handlers.dispatch.where_desk import WhereDesk

logger = logging.getLogger("matrixinfer.dispatch.dispatcher")


class Dispatcher:
    """`new_queue` and `new_scheduler` make one for each shard; the scheduler may use what is told of the caches."""

    def __init__(
        self,
        settings: DispatchSettings,
        bus: Bus,
        new_queue: Callable[[], FairQueue],
        new_scheduler: Callable[[ToldCaches], LiveScheduler],
        rng: Rng,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._new_queue = new_queue
        self._new_scheduler = new_scheduler
        self._rng = rng
        self._changed = asyncio.Event()
        self._pools: dict[PoolShard, PoolDispatcher] = {}
        self._tasks: dict[PoolShard, asyncio.Task[None]] = {}
        self._broken: set[PoolShard] = set()
        self._not_before: dict[PoolShard, float] = {}
        self._catalog = Catalog()
        self.id = new_boot_id()
        self._outbox = Outbox(bus, self.id)
        self._tenure = Tenure(bus, settings, self.id, self._changed.set)
        self._claims = Claims(bus, self._tenure.owner, self._changed.set)
        self._serving = ServingWatch(bus, self._catalog, self._changed.set)
        self._feeds = (load_feed(bus), cache_feed(bus))
        self._desk = WhereDesk(bus, self._pools_of, self._catalog.shard_count)
        self._gateways = GatewayWatch(bus, settings, self.id, self._pools.values)
        self._cache_inquiry = CacheInquiry(bus, settings.dump_timeout_s, self._pools.values)

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatch until `stop`, then hand everything over. Raises when a part of it fails for good."""
        self._bus.link.on_restored(self._on_restored)
        subscriptions = [await feed.open() for feed in self._feeds]
        parts = (self._tenure, self._claims, self._serving, self._gateways, self._cache_inquiry)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part.run(), name=type(part).__name__) for part in parts]
                tasks += [group.create_task(self._tick()), group.create_task(self._follow_changes())]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await self._hand_over()
            for subscription in subscriptions:
                await subscription.close()

    async def _hand_over(self) -> None:
        """The successors begin as soon as the lease is gone, so that goes first; nothing is done here from then on."""
        for pool in self._pools.values():
            pool.retire()
        await self._tenure.resign()
        await self._desk.close()
        for shard in list(self._pools):
            await self._let_go(shard)

    async def _on_restored(self) -> None:
        for pool in self._pools.values():
            pool.claim_again()

    # -- which shards
    async def _follow_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._reassess(self._bus.clock.monotonic())

    async def _reassess(self, now: float) -> None:
        wanted = self._wanted(now)
        outlived = await self._claims.outlived(shard for shard, pool in self._pools.items() if pool.is_claimed)
        for shard in outlived:
            logger.warning("%s was claimed by another dispatcher", shard.claim_name)
            self._not_before[shard] = now + self._settings.lease_ttl_s
        for shard in (self._pools.keys() - wanted) | outlived | self._broken:
            await self._let_go(shard)
        for shard in wanted - self._pools.keys():
            if now >= self._not_before.get(shard, now):
                self._take(shard)
        self._not_before = {shard: at for shard, at in self._not_before.items() if at > now}
        for shard, pool in self._pools.items():
            pool.list_pods(self._catalog.pods(shard))
            pool.heed_term()
            if (listed := self._catalog.pool(shard.namespace, shard.modelserver)) is not None:
                pool.follow(listed)
        for feed in self._feeds:
            feed.route(self._pools.values())
        await self._desk.serve({_name(shard) for shard, pool in self._pools.items() if pool.knows_all()})

    def _wanted(self, now: float) -> set[PoolShard]:
        """Nothing without a lease. A pool that was deleted is kept until its last request ended."""
        if self._claims.dispatchers is None or not self._tenure.holds(now):
            return set()
        shards = self._catalog.shards() | {shard for shard, pool in self._pools.items() if not pool.state.is_empty()}
        return owned_by(self.id, shards, {*self._claims.dispatchers, self.id})

    def _take(self, shard: PoolShard) -> None:
        caches = ToldCaches(self._settings.cache_index_blocks)
        scheduler = self._new_scheduler(caches)
        state = PoolState(self._settings, self._new_queue(), scheduler, self._rng)
        pool = PoolDispatcher(
            shard,
            self._bus,
            self._settings,
            self._tenure,
            state,
            scheduler=scheduler,
            caches=caches,
            outbox=self._outbox,
            on_ready=self._changed.set,
        )
        pool.list_pods(self._catalog.pods(shard))
        self._pools[shard] = pool
        self._tasks[shard] = asyncio.create_task(self._serve(pool), name=shard.claim_name)

    async def _serve(self, pool: PoolDispatcher) -> None:
        try:
            await pool.run()
        except Exception:
            logger.exception("%s failed and is taken over anew", pool.shard.claim_name)
            self._not_before[pool.shard] = self._bus.clock.monotonic() + self._settings.renew_every_s
            self._broken.add(pool.shard)
            self._changed.set()

    async def _let_go(self, shard: PoolShard) -> None:
        pool, task = self._pools.pop(shard), self._tasks.pop(shard)
        self._broken.discard(shard)
        pool.retire()
        task.cancel()
        await asyncio.wait([task])
        await pool.close()
        logger.info("%s is no longer served here", shard.claim_name)

    def _pools_of(self, name: PoolName) -> list[PoolDispatcher]:
        return [pool for shard, pool in self._pools.items() if _name(shard) == name]

    # -- time
    async def _tick(self) -> None:
        while True:
            await self._bus.clock.sleep(self._settings.tick_s)
            now = self._bus.clock.monotonic()
            if self._is_overdue(now):
                self._changed.set()
            for pool in list(self._pools.values()):
                await self._tick_pool(pool)

    def _is_overdue(self, now: float) -> bool:
        """Is there something to reassess that nobody tells of?"""
        lapsed = bool(self._pools) and not self._tenure.holds(now)
        return lapsed or self._desk.is_short() or any(at <= now for at in self._not_before.values())

    async def _tick_pool(self, pool: PoolDispatcher) -> None:
        shards = self._catalog.shard_count(pool.shard.namespace, pool.shard.modelserver)
        try:
            await pool.tick(is_listed=shards > 0)
        except Exception:
            logger.exception("a tick of %s failed", pool.shard.claim_name)
        if shards <= pool.shard.shard and pool.state.is_empty():
            self._changed.set()


def _name(shard: PoolShard) -> PoolName:
    return shard.namespace, shard.modelserver
