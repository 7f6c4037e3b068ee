"""Tasks that run beside everything else: one that dies is always noticed, one that is cancelled always ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from matrixinfer.bus.clock import Clock

logger = logging.getLogger("matrixinfer.bus.background")

CANCEL_AGAIN_S = 1.0

T = TypeVar("T")


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start `work`; should it end with an error, that is logged with its traceback, once, as critical."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_notice)
    return task


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them until they have ended. A library on the way may swallow a cancellation: `asyncio.wait_for` of Python
    3.11 does, where what it waits for comes in the same turn."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)


async def apart(work: Coroutine[Any, Any, T], name: str) -> T:
    """Await a library's work in a task of its own: what becomes of a cancellation inside cannot lose the caller's."""
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait([task])
    finally:
        await end([task])
    return task.result()


async def within(clock: Clock, timeout_s: float, work: Coroutine[Any, Any, None], name: str) -> bool:
    """Await `work` for so long at most; False when it took longer, and was ended. Raises what it raises."""
    task = asyncio.create_task(work, name=name)
    timer = asyncio.create_task(clock.sleep(timeout_s))
    try:
        await asyncio.wait([task, timer], return_when=asyncio.FIRST_COMPLETED)
        is_done = task.done()
    finally:
        await end([task, timer])
    if is_done:
        task.result()
    return is_done


def _notice(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("%s died", task.get_name(), exc_info=error)


class Background:
    """A set of short tasks beside the requests: kept from being collected, ended with their owner. One that fails is a
    defect: it is logged with its traceback and touches no other task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def close(self) -> None:
        """Cancel what runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)
