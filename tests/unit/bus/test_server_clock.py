"""The difference to the server's clock is measured again: every minute, and soon after a clock was set."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from typing import cast

import pytest

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.jetstream.api import Api, Json
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.jetstream.server_clock import ServerClock


class SetClock(ManualClock):
    """Its wall clock can be set."""

    set_by_s = 0.0

    def now(self) -> float:
        return super().now() + self.set_by_s


class Server:
    """Answers what the server's clock says."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.ahead_s = 0.0
        self.is_down = False

    async def call(self, name: str) -> Json:
        assert name == "STREAM.INFO.REQUESTS"
        if self.is_down:
            raise Unavailable("down")
        there = datetime.datetime.fromtimestamp(self._clock.monotonic() + self.ahead_s, datetime.UTC)
        return {"ts": there.isoformat()}


class Rig:
    def __init__(self) -> None:
        self.clock = SetClock()
        self.server = Server(self.clock)
        self.measured = ServerClock(cast(Api, self.server), Names("mi"), self.clock)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.measured.measure()
    following = asyncio.create_task(rig.measured.follow())
    yield rig
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def test_a_server_whose_clock_was_set_is_believed_within_a_minute(rig: Rig) -> None:
    rig.server.ahead_s = 300.0
    await rig.clock.advance(62)
    assert rig.measured.ahead_s == pytest.approx(300.0, abs=0.01)


async def test_our_own_clock_that_was_set_is_noticed_at_once(rig: Rig) -> None:
    rig.clock.set_by_s = 3600.0
    await rig.clock.advance(2)
    assert rig.measured.ahead_s == pytest.approx(-3600.0, abs=0.01)


async def test_a_message_from_the_future_makes_it_measure_at_once(rig: Rig) -> None:
    rig.server.ahead_s = 5.0
    await rig.clock.advance(2)
    assert rig.measured.ahead_s == pytest.approx(0.0, abs=0.01)
    rig.measured.contradict(0.01)
    await rig.clock.advance(2)
    assert rig.measured.ahead_s == pytest.approx(0.0, abs=0.01), "an inaccuracy is no contradiction"
    rig.measured.contradict(5.0)
    await rig.clock.advance(2)
    assert rig.measured.ahead_s == pytest.approx(5.0, abs=0.01)


async def test_a_server_that_does_not_answer_is_asked_again(rig: Rig) -> None:
    rig.server.is_down = True
    rig.server.ahead_s = 5.0
    await rig.clock.advance(65)
    rig.server.is_down = False
    await rig.clock.advance(2)
    assert rig.measured.ahead_s == pytest.approx(5.0, abs=0.01)
