"""Chunks that come faster than anybody reads leave together; all others at once."""

from __future__ import annotations

import asyncio
import functools

import pytest

from matrixinfer.bus.contracts.frames import ChunkKind
from matrixinfer.gateway.errors import UpstreamLost
from matrixinfer.gateway.relay.pace import Pace
from unit.gateway.conftest import Rig
from unit.gateway.farside import chunk, failed


@pytest.fixture
def slow(rig: Rig) -> Rig:
    """No rest of it ends within a test."""
    rig.worker.relay.pace = Pace(3600)
    return rig


async def pulled(rig: Rig, pulling: asyncio.Task[bytes]) -> bool:
    await rig.clock.advance(0)
    return pulling.done()


async def test_the_first_chunk_leaves_at_once_and_the_next_one_rests(slow: Rig):
    exchange = await slow.begin()
    await slow.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    assert await exchange.pull() == b"a"
    pulling = asyncio.create_task(exchange.pull())
    await slow.far.send(exchange.envelope, chunk(exchange.envelope, 1, b"b"))
    assert not await pulled(slow, pulling)
    await slow.far.send(exchange.envelope, chunk(exchange.envelope, 2, b"c", ChunkKind.END))
    assert await pulled(slow, pulling)
    assert pulling.result() == b"bc"


async def test_an_error_ends_the_rest_and_what_waited_comes_before_it(slow: Rig):
    exchange = await slow.begin()
    await slow.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    assert await exchange.pull() == b"a"
    pulling = asyncio.create_task(exchange.pull())
    await slow.far.send(exchange.envelope, chunk(exchange.envelope, 1, b"b"))
    await slow.far.send(exchange.envelope, failed(exchange.envelope, UpstreamLost("gone").failure(), 2))
    assert await pulled(slow, pulling)
    assert pulling.result() == b"b"
    assert exchange.failure is not None


async def test_what_came_during_a_rest_leaves_with_its_end_in_one_write(slow: Rig):
    rig = slow
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    assert await exchange.pull() == b"a"
    pulling = asyncio.create_task(exchange.pull())
    for number, data in enumerate((b"b", b"c", b"d"), start=1):
        await rig.far.send(exchange.envelope, chunk(exchange.envelope, number, data))
        await rig.clock.advance(0)
    rig.worker.relay.pace._tick()
    assert await pulled(rig, pulling)
    assert pulling.result() == b"bcd"


async def test_after_a_rest_in_which_nothing_came_a_chunk_leaves_at_once(slow: Rig):
    exchange = await slow.begin()
    await slow.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    assert await exchange.pull() == b"a"
    slow.worker.relay.pace._tick()
    pulling = asyncio.create_task(exchange.pull())
    await slow.far.send(exchange.envelope, chunk(exchange.envelope, 1, b"b"))
    assert await pulled(slow, pulling)


async def test_rests_are_over_by_themselves_and_there_is_no_timer_when_nobody_rests():
    pace, over = Pace(0.001), asyncio.Event()
    rests = {"a": 2, "b": 3}

    def rested(name: str) -> bool:
        rests[name] -= 1
        if not any(rests.values()):
            over.set()
        return rests[name] > 0

    for name in rests:
        pace.rest(functools.partial(rested, name))
    async with asyncio.timeout(10):
        await over.wait()
    await asyncio.sleep(0.005)  # a tick too many would go below nought
    assert rests == {"a": 0, "b": 0}
