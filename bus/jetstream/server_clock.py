"""What the server's clock says: ages are told by its clock, deadlines by ours, and either may be set anew."""

from __future__ import annotations

import datetime
import logging

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.jetstream.api import Api
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.topology import STREAMS

logger = logging.getLogger("matrixinfer.bus.jetstream.server_clock")

MEASURE_EVERY_S = 60.0
LOOK_EVERY_S = 1.0
JUMP_S = 0.25
"""A step of our wall clock against the monotonic one, or a message from the future, by which a clock was set."""


class ServerClock:
    """`ahead_s`: seconds by which the server's clock is before ours, as measured last."""

    def __init__(self, api: Api, names: Names, clock: Clock) -> None:
        self._question = f"STREAM.INFO.{names.stream(STREAMS[0].name)}"
        self._api = api
        self._clock = clock
        self._wall_minus_monotonic = 0.0
        self._measured_at = 0.0
        self._contradicted = False
        self.ahead_s = 0.0

    async def measure(self) -> None:
        """Raises Unavailable, Denied."""
        before = self._clock.now()
        info = await self._api.call(self._question)
        after = self._clock.now()
        self._contradicted = False
        self._measured_at = self._clock.monotonic()
        self._wall_minus_monotonic = after - self._measured_at
        if "ts" in info:
            there = datetime.datetime.fromisoformat(str(info["ts"])).timestamp()
            self.ahead_s = there - (before + after) / 2

    def contradict(self, early_s: float) -> None:
        """A message came `early_s` before the server stored it, as far as `ahead_s` tells."""
        if early_s > JUMP_S:
            self._contradicted = True

    async def follow(self) -> None:
        """Measure every minute, and soon after either clock was set. Runs until cancelled."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            if self._is_due():
                try:
                    await self.measure()
                except BusError as error:
                    logger.debug("the server's clock could not be asked: %s", error)

    def _is_due(self) -> bool:
        monotonic = self._clock.monotonic()
        step_s = self._clock.now() - monotonic - self._wall_minus_monotonic
        return self._contradicted or abs(step_s) > JUMP_S or monotonic - self._measured_at >= MEASURE_EVERY_S
