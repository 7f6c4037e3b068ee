"""The inbox of a subscription: order, failures, and what happens when it overflows."""

from __future__ import annotations

import asyncio
import logging

import pytest

from matrixinfer.bus.inbox import Inbox
from support.eventually import eventually


async def test_items_are_handled_one_at_a_time_in_order() -> None:
    began: list[int] = []
    ended: list[int] = []

    async def handle(item: int) -> None:
        assert began == ended
        began.append(item)
        await asyncio.sleep(0)
        ended.append(item)

    inbox: Inbox[int] = Inbox(handle, "test")
    for item in range(10):
        inbox.put(item)
    await eventually(lambda: len(ended) == 10)
    inbox.put(10)
    await eventually(lambda: len(ended) == 11)
    assert ended == list(range(11))


async def test_beyond_the_limit_the_newest_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    gate = asyncio.Event()
    handled: list[int] = []

    async def handle(item: int) -> None:
        await gate.wait()
        handled.append(item)

    inbox: Inbox[int] = Inbox(handle, "slow", limit=3)
    with caplog.at_level(logging.ERROR):
        for item in range(10):
            inbox.put(item)
        gate.set()
        await eventually(lambda: len(handled) == 3)
        await eventually(lambda: "7 messages were dropped" in caplog.text)
    assert handled == [0, 1, 2]
    inbox.put(10)
    await eventually(lambda: handled[-1] == 10)


async def test_a_closed_inbox_returns_what_waited_and_takes_nothing() -> None:
    gate = asyncio.Event()
    handled: list[int] = []

    async def handle(item: int) -> None:
        handled.append(item)
        await gate.wait()

    inbox: Inbox[int] = Inbox(handle, "test")
    for item in range(3):
        inbox.put(item)
    await eventually(lambda: handled)
    assert inbox.close() == [1, 2]
    inbox.put(3)
    gate.set()
    await asyncio.sleep(0)
    assert handled == [0]
