"""Tasks that run beside everything else, and what a cancellation does to them."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus import background
from matrixinfer.bus.background import apart, end, within
from matrixinfer.bus.clock import ManualClock


class Stubborn:
    """Swallows the first cancellations."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.started = asyncio.Event()

    async def run(self) -> str:
        self.started.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.left == 0:
                    raise
                self.left -= 1


async def test_a_task_that_swallows_cancellations_is_cancelled_until_it_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(background, "CANCEL_AGAIN_S", 0.01)
    work = Stubborn(2)
    task = asyncio.create_task(work.run())
    await work.started.wait()
    await end([task])
    assert task.cancelled()
    assert work.left == 0


async def test_ending_what_has_ended_leaves_it_as_it_is():
    async def answer() -> int:
        return 42

    task = asyncio.create_task(answer())
    await asyncio.wait([task])
    await end([task])
    assert task.result() == 42


async def test_work_apart_gives_its_result_and_its_error():
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise ValueError("no")

    assert await apart(answer(), "answer") == 42
    with pytest.raises(ValueError, match="no"):
        await apart(fail(), "fail")


async def test_a_cancellation_that_the_work_swallows_reaches_the_caller(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(background, "CANCEL_AGAIN_S", 0.01)
    work = Stubborn(1)
    caller = asyncio.create_task(apart(work.run(), "stubborn"))
    await work.started.wait()
    caller.cancel()
    await asyncio.wait([caller], timeout=5)
    assert caller.cancelled()


# -- bounded waits
@pytest.mark.parametrize(("takes_s", "is_done"), [(0.0, True), (1.9, True), (2.1, False), (1e9, False)])
async def test_work_is_awaited_for_so_long_and_ended_then(takes_s, is_done):
    clock, ended = ManualClock(), asyncio.Event()

    async def work() -> None:
        try:
            await clock.sleep(takes_s)
        finally:
            ended.set()

    waiting = asyncio.create_task(within(clock, 2.0, work(), "work"))
    await clock.advance(2.0)
    assert await waiting is is_done
    assert ended.is_set()


async def test_what_fails_in_time_raises():
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await within(ManualClock(), 2.0, work(), "work")


async def test_who_is_cancelled_meanwhile_ends_the_work():
    clock, work = ManualClock(), Stubborn(0)

    async def run() -> None:
        await work.run()

    waiting = asyncio.create_task(within(clock, 2.0, run(), "work"))
    await work.started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "work"]
