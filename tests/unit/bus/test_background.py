"""Tasks that run beside everything else, and what a cancellation does to them."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus import background
from matrixinfer.bus.background import apart, end


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
