"""Answers gateways that ask where a request is.

`unknown` lets a gateway publish again, so it is said only by who can know: not before all stored requests were read,
and late when another process owns another shard of the pool and may know better.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.dispatch import WhereAnswer, WhereQuestion
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal, Subscription
from matrixinfer.handlers.dispatch.catalog import PoolName
from matrixinfer.handlers.dispatch.pool import PoolDispatcher
from matrixinfer.handlers.dispatch.request import RequestKey

logger = logging.getLogger("matrixinfer.dispatch.where_desk")

_OTHERS_FIRST_S = 0.3


class WhereDesk:
    """One subscription for each pool of which this process serves a shard, from when the first shard is ready.

    `pools_of` gives this process's shards of a pool, `shard_count` how many there are in all.
    """

    def __init__(
        self,
        bus: Bus,
        pools_of: Callable[[PoolName], list[PoolDispatcher]],
        shard_count: Callable[[str, str], int],
    ) -> None:
        self._bus = bus
        self._pools_of = pools_of
        self._shard_count = shard_count
        self._open: dict[PoolName, Subscription] = {}
        self._wanted: set[PoolName] = set()
        self._background = Background()

    async def serve(self, names: Iterable[PoolName]) -> None:
        """Answer for these pools and for no others; as far as the bus lets: see `is_short`."""
        self._wanted = wanted = set(names)
        for name in self._open.keys() - wanted:
            await self._open.pop(name).close()
        for name in wanted - self._open.keys():
            await self._subscribe(name)

    def is_short(self) -> bool:
        """Some pool is not listened to yet: `serve` should be called again."""
        return not self._wanted <= self._open.keys()

    async def close(self) -> None:
        await self.serve([])
        await self._background.close()

    async def _subscribe(self, name: PoolName) -> None:
        async def answer(signal: Signal) -> None:
            await self._on_question(name, signal)

        try:
            self._open[name] = await self._bus.signals.subscribe(self._bus.subjects.where(*name), answer)
        except BusError as error:
            logger.warning("cannot listen to questions about %s/%s yet: %s", *name, error)

    async def _on_question(self, name: PoolName, signal: Signal) -> None:
        try:
            question = decode(signal.data, WhereQuestion)
        except Malformed as error:
            logger.error("a question on %s cannot be read: %s", signal.subject, error)
            return
        key = (question.rid, question.attempt)
        answer = self._known(name, key)
        if answer is not None:
            await _respond(signal, answer)
        elif self._is_certain(name):
            if len(self._pools_of(name)) >= self._shard_count(*name):
                await _respond(signal, WhereAnswer("unknown"))
            else:
                self._background.spawn(self._answer_late(name, key, signal), f"answering where {question.rid} is")

    def _known(self, name: PoolName, key: RequestKey) -> WhereAnswer | None:
        answers = [pool.where(key) for pool in self._pools_of(name)]
        return next((answer for answer in answers if answer is not None), None)

    def _is_certain(self, name: PoolName) -> bool:
        pools = self._pools_of(name)
        return bool(pools) and all(pool.knows_all() for pool in pools)

    async def _answer_late(self, name: PoolName, key: RequestKey, signal: Signal) -> None:
        await self._bus.clock.sleep(_OTHERS_FIRST_S)
        answer = self._known(name, key)
        if answer is not None or self._is_certain(name):
            await _respond(signal, answer or WhereAnswer("unknown"))


async def _respond(signal: Signal, answer: WhereAnswer) -> None:
    try:
        await signal.respond(encode(answer))
    except BusError as error:
        logger.debug("an answer on %s is lost, it will be asked for again: %s", signal.subject, error)
