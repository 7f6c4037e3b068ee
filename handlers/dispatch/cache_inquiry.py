"""Asks agents what their caches hold, where events were missed, and lets the indexes of all pools look at the time.

One chunk at a time over all pools, one in PACE_S at most: a rebuild takes its share of this process, and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import CacheDumped, Order, Reply
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.handlers.dispatch.cache_index.event_feed import Ask
from matrixinfer.handlers.dispatch.pool import PoolDispatcher

logger = logging.getLogger("matrixinfer.dispatch.cache_inquiry")

ROUND_S = 0.1
PACE_S = 0.01


class CacheInquiry:
    def __init__(self, bus: Bus, answer_within_s: float, pools: Callable[[], Iterable[PoolDispatcher]]) -> None:
        self._bus = bus
        self._answer_within_s = answer_within_s
        self._pools = pools

    async def run(self) -> None:
        clock = self._bus.clock
        while True:
            ends_at = clock.monotonic() + ROUND_S
            for pool in list(self._pools()):
                pool.tick_caches(clock.monotonic())
            while clock.monotonic() < ends_at and await self._ask_someone():
                await clock.sleep(PACE_S)
            await clock.sleep(max(0.0, ends_at - clock.monotonic()))

    async def _ask_someone(self) -> bool:
        """One chunk; False when there is nobody to ask now."""
        for pool in list(self._pools()):
            ask = pool.caches.next_ask(self._bus.clock.monotonic())
            if ask is not None:
                await self._ask(pool, ask)
                return True
        return False

    async def _ask(self, pool: PoolDispatcher, ask: Ask) -> None:
        dumped = await self._dumped(pool.shard.namespace, ask)
        now = self._bus.clock.monotonic()
        if dumped is None:
            pool.caches.unanswered(ask, now)
        else:
            pool.caches.answered(ask, dumped, now)

    async def _dumped(self, namespace: str, ask: Ask) -> CacheDumped | None:
        order: Order = ask.order
        subject = self._bus.subjects.control(namespace, ask.pod)
        try:
            answer = await self._bus.signals.request(subject, encode(order), timeout_s=self._answer_within_s)
            reply: object = decode(answer, Reply)  # type: ignore[arg-type]  # a union is not a class
        except BusError as error:
            logger.debug("pod %s/%s does not tell what it has cached: %s", namespace, ask.pod, error)
            return None
        if not isinstance(reply, CacheDumped):
            logger.error("pod %s/%s: %s", namespace, ask.pod, Malformed(f"expected CacheDumped, met {reply!r:.80}"))
            return None
        return reply
