"""How often a missing stream makes a process declare the topology."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.jetstream.repair import LONGEST_PAUSE_S, PAUSE_S, Repair


class Work:
    def __init__(self) -> None:
        self.count = 0
        self.fails = False

    async def __call__(self) -> None:
        self.count += 1
        await asyncio.sleep(0)
        if self.fails:
            raise Unavailable("still not there")


@pytest.mark.parametrize("fails", [False, True])
async def test_misses_without_end_are_repaired_ever_more_seldom_but_never_given_up(fails: bool) -> None:
    clock, work = ManualClock(), Work()
    work.fails = fails
    repair = Repair(clock, work)
    repair.arm()
    for _ in range(6000):  # ten minutes
        for _ in range(3):
            repair.miss("WORK")
        await clock.advance(0.1)
    assert 10 <= work.count <= 600 / LONGEST_PAUSE_S + 8
    before = work.count
    await clock.advance(LONGEST_PAUSE_S)
    repair.miss("WORK")
    await clock.advance(0)
    assert work.count == before + 1


async def test_after_a_quiet_time_a_miss_is_repaired_at_once_and_the_next_after_the_shortest_pause() -> None:
    clock, work = ManualClock(), Work()
    repair = Repair(clock, work)
    repair.arm()
    for expected in range(1, 11, 2):
        repair.miss("WORK")
        await clock.advance(PAUSE_S * 1.01)
        assert work.count == expected
        repair.miss("WORK")
        await clock.advance(10 * PAUSE_S)
        assert work.count == expected + 1


async def test_nothing_is_repaired_before_the_first_declaring_and_after_the_end() -> None:
    clock, work = ManualClock(), Work()
    repair = Repair(clock, work)
    repair.miss("WORK")
    await clock.advance(1)
    repair.arm()
    repair.stop()
    repair.miss("WORK")
    await clock.advance(1)
    assert work.count == 0
