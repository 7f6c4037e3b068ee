"""Dispatcher processes that end, die, freeze or lose their server under load: every request is answered once, whole."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from matrixinfer.bus.ports import Signal
from support.clients import SteadyLoad, ask, chat
from support.eventually import eventually
from support.platform import MODEL, NAMESPACE, Platform

EVERY_S = 0.04
TOKENS = 12
"""An answer takes a quarter of a second: several stream at every moment."""


@asynccontextmanager
async def under_load(platform: Platform) -> AsyncIterator[SteadyLoad]:
    """Some answers have come when the block begins; at its end all must have, each once and whole."""
    load = SteadyLoad(platform.url, model=MODEL, tokens=TOKENS, every_s=EVERY_S)
    async with load.running():
        await eventually(lambda: len(load.answers) >= 20, timeout_s=10)
        yield load
    assert load.unanswered() == []
    assert len(load.answers) == load.sent
    assert max(platform.started.values()) == 1, "no request was run twice"
    await eventually(platform.is_drained, timeout_s=10, every_s=0.1)


def has_answered(load: SteadyLoad, more: int) -> Callable[[], bool]:
    """`more` answers have come since this was called."""
    enough = len(load.answers) + more
    return lambda: len(load.answers) >= enough


def places(platform: Platform, beyond_epoch: int) -> Callable[[], bool]:
    """A later reign than that has placed a request."""
    return lambda: bool(platform.placed) and platform.placed[-1].envelope.epoch > beyond_epoch


async def sigterm(platform: Platform) -> None:
    (await platform.owner()).signal(signal.SIGTERM)


async def kill(platform: Platform) -> None:
    (await platform.owner()).signal(signal.SIGKILL)


async def restart_the_server(platform: Platform) -> None:
    await platform.server.restart()


@pytest.mark.parametrize("interrupt", [sigterm, kill, restart_the_server])
async def test_an_interruption_of_dispatch_is_invisible(
    tmp_path: Path, interrupt: Callable[[Platform], Awaitable[None]]
) -> None:
    async with Platform(tmp_path) as platform, under_load(platform) as load:
        epoch = await platform.epoch()
        await interrupt(platform)
        await eventually(places(platform, epoch), timeout_s=10)
        await eventually(has_answered(load, 50), timeout_s=10)


async def test_a_dispatcher_that_froze_and_woke_up_changes_nothing(tmp_path: Path) -> None:
    async with Platform(tmp_path) as platform, under_load(platform) as load:
        epoch, frozen = await platform.epoch(), await platform.owner()
        frozen.signal(signal.SIGSTOP)
        await eventually(places(platform, epoch), timeout_s=10)
        await eventually(has_answered(load, 50), timeout_s=10)
        frozen.signal(signal.SIGCONT)
        await eventually(lambda: "stops everything" in frozen.log.read_text(), timeout_s=10)
        await eventually(has_answered(load, 50), timeout_s=10)


async def test_a_client_that_left_just_before_its_dispatcher_died_is_not_answered_by_the_next(tmp_path: Path) -> None:
    async with Platform(tmp_path, agents=1) as platform, httpx.AsyncClient(timeout=30) as client:
        cancels: list[bytes] = []

        async def hear(signal: Signal) -> None:
            cancels.append(signal.data)

        await platform.bus.signals.subscribe(platform.bus.subjects.cancel(NAMESPACE, MODEL), hear)
        await eventually(platform.is_drained, timeout_s=10, every_s=0.1)
        epoch, placed = await platform.epoch(), len(platform.placed)
        await platform.set_draining(True)  # nothing is placed meanwhile
        asking = asyncio.create_task(ask(client, platform.url, chat("hi", model=MODEL, tokens=4, stream=False)))
        await eventually(lambda: has_stored_one(platform), timeout_s=10, every_s=0.05)
        owner = await platform.owner()
        owner.signal(signal.SIGSTOP)  # it will never hear of the cancel
        asking.cancel()
        await eventually(lambda: bool(cancels), timeout_s=10)
        owner.signal(signal.SIGKILL)
        await eventually(lambda: has_begun(platform, epoch), timeout_s=10, every_s=0.1)
        await eventually(platform.is_drained, timeout_s=10, every_s=0.1)
        await platform.set_draining(False)
        answer = await ask(client, platform.url, chat("hi", model=MODEL, tokens=4, stream=False))
        assert answer.done
        assert len(platform.placed) == placed + 1, "only the second request came to an agent"


async def has_stored_one(platform: Platform) -> bool:
    return not await platform.is_drained()


async def has_begun(platform: Platform, beyond_epoch: int) -> bool:
    return await platform.epoch() > beyond_epoch


async def test_two_dispatchers_share_two_shards_and_one_takes_both_when_the_other_dies(tmp_path: Path) -> None:
    async with Platform(tmp_path, dispatchers=3, shards=2) as platform, under_load(platform) as load:
        owners = [await platform.owner(shard) for shard in range(2)]
        epochs = [await platform.epoch(shard) for shard in range(2)]
        owners[0].signal(signal.SIGKILL)
        await eventually(lambda: has_moved(platform, 0, epochs[0]), timeout_s=10)
        await eventually(has_answered(load, 50), timeout_s=10)
        pods = {(placed.envelope.shard, placed.pod) for placed in platform.placed}
        assert pods == {(0, "pod-0"), (1, "pod-1")}, "no pod has two dispatchers"


async def has_moved(platform: Platform, shard: int, epoch: int) -> bool:
    return any(placed.envelope.shard == shard and placed.envelope.epoch > epoch for placed in platform.placed)


async def test_shards_that_come_and_go_under_load_lose_nothing(tmp_path: Path) -> None:
    async with Platform(tmp_path) as platform, under_load(platform) as load:
        for shards, served in [(2, 0), (1, 2), (2, 0)]:
            await platform.set_shards(shards, served)
            await eventually(has_answered(load, 40), timeout_s=10)
        assert {placed.envelope.shard for placed in platform.placed} == {0, 1}
