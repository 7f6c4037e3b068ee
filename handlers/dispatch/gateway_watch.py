"""Finds gateways that are gone, so that nothing runs for clients whose connection died with them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from matrixinfer.bus.absence import AbsenceRule, heard
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.frames import Frame
from matrixinfer.bus.errors import BusError
from matrixinfer.handlers.dispatch.pool import PoolDispatcher
from matrixinfer.handlers.dispatch.settings import DispatchSettings

logger = logging.getLogger("matrixinfer.dispatch.gateway_watch")

_ANSWER_WITHIN_S = 1.0


class GatewayWatch:
    """Asks each gateway that has a request in a queue, with an empty frame, whether it is there."""

    def __init__(
        self, bus: Bus, settings: DispatchSettings, dispatcher_id: str, pools: Callable[[], Iterable[PoolDispatcher]]
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._question = encode(Frame("", "", dispatcher_id, 0, []))
        self._pools = pools
        self._absence: AbsenceRule[str] = AbsenceRule(settings.gateway_gone_after_s)

    async def run(self) -> None:
        while True:
            await self._bus.clock.sleep(self._settings.gateway_every_s)
            gateways = set().union(*[pool.state.gateways() for pool in self._pools()])
            self._absence.keep_only(gateways)
            await asyncio.gather(*[self._look_after(gateway) for gateway in gateways])

    async def _look_after(self, gateway: str) -> None:
        failure: BusError | None = None
        try:
            subject = self._bus.subjects.frames(gateway)
            await self._bus.signals.request(subject, self._question, timeout_s=_ANSWER_WITHIN_S)
        except BusError as error:
            failure = error
        now = self._bus.clock.monotonic()
        if self._absence.observe(gateway, now, heard(failure), self._bus.link.up_since()):
            logger.warning("gateway %s is gone; its queued requests are dropped", gateway)
            self._absence.forget(gateway)
            for pool in list(self._pools()):
                await pool.drop_gateway(gateway)
