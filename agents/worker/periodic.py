"""Chores that come again and again, one task each for the whole agent, never one for a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from matrixinfer.bus.clock import Clock


async def every(clock: Clock, period_s: float, chore: Callable[[], Awaitable[None]]) -> None:
    """Do `chore` after each `period_s`, until cancelled. What it raises ends this."""
    while True:
        await clock.sleep(period_s)
        await chore()


async def first_of(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Return when the first of them ended, with the others cancelled and gone; what that one raised is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
