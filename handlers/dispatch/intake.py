"""The inflow of one pool's shard out of REQUESTS: one consumer for each reign, and the credits it is given."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.ports import Consumer, Consumption, Delivery
from matrixinfer.bus.topology import ACK_WAIT_REQUESTS_S
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.credits import Credits
from matrixinfer.handlers.dispatch.settings import DispatchSettings

logger = logging.getLogger("matrixinfer.dispatch.intake")

_QUICK_LOOKS = 20
_LOOK_EVERY_S = 0.05
_LOOK_LATER_EVERY_S = 0.5


class Intake:
    def __init__(
        self, bus: Bus, shard: PoolShard, settings: DispatchSettings, handler: Callable[[Delivery], Awaitable[None]]
    ) -> None:
        self._bus = bus
        self._shard = shard
        self._settings = settings
        self._handler = handler
        self._consumer: Consumer | None = None
        self._consumption: Consumption | None = None
        self._credits = self._new_credits()

    async def open(self, epoch: int) -> None:
        """Take the shard's requests away from every earlier reign, whose late verdicts have no effect then."""
        await self.stop()
        self._credits = credits = self._new_credits()
        self._consumer = consumer = self._consumer_of(epoch)
        self._consumption = await self._bus.queue.consume(consumer, self._handler, credits=credits.due())
        self.grant()

    async def stop(self) -> None:
        consumption, self._consumption, self._consumer = self._consumption, None, None
        if consumption is not None:
            await consumption.stop()

    async def wait_until_caught_up(self, is_over: Callable[[], bool]) -> None:
        """Return when everything stored before `open` has been delivered, or when `is_over`."""
        looks = 0
        while not is_over() and not await self._has_all():
            looks += 1
            await self._bus.clock.sleep(_LOOK_EVERY_S if looks < _QUICK_LOOKS else _LOOK_LATER_EVERY_S)

    # -- credits
    def took(self, delivery: Delivery) -> None:
        self._credits.take(len(delivery.data))

    def gave_back(self, size_bytes: int) -> None:
        """A delivery of this reign was acknowledged, or replaced by another of the same message."""
        self._credits.give_back(size_bytes)

    def grant(self) -> None:
        """Ask for more, if it is time."""
        if self._consumption is not None and (amount := self._credits.due()):
            self._consumption.grant(amount)

    def is_starved(self) -> bool:
        """More may be stored than was delivered."""
        return self._credits.is_starved()

    def _new_credits(self) -> Credits:
        settings = self._settings
        return Credits(settings.max_in_hand, settings.max_bytes_in_hand, settings.pull_window)

    def _consumer_of(self, epoch: int) -> Consumer:
        shard = self._shard
        return Consumer(
            stream="REQUESTS",
            name=shard.consumer_name(epoch),
            filter=self._bus.subjects.infer_filter(shard.namespace, shard.modelserver, shard.shard),
            ack_wait_s=ACK_WAIT_REQUESTS_S,
            max_ack_pending=2 * self._settings.max_in_hand,
            exclusive=True,
            epoch=epoch,
        )

    async def _has_all(self) -> bool:
        if self._consumer is None:
            return False
        try:
            backlog = await self._bus.queue.backlog(self._consumer)
        except BusError as error:
            logger.debug("the backlog of %s is not known: %s", self._consumer.name, error)
            return False
        on_their_way = backlog.unacknowledged - self._credits.in_hand
        return backlog.waiting == 0 and on_their_way <= 0 and not self.is_starved()
