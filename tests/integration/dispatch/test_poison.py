"""A request that kills its agents, on real processes: stopped after two deaths, also when a takeover comes between."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.ports import Consumer, Delivery
from support.clients import SteadyLoad, chat
from support.eventually import eventually
from support.platform import MODEL, Placed, Platform

TOKENS = 4
LONG = "word " * 20_000
PREFILL_TOKENS_PER_S = 400.0
"""The prefill of the long request, 25,000 tokens, takes longer than the whole test: it never starts."""


def copies(platform: Platform) -> list[Placed]:
    """The placements of the long request."""
    return [placed for placed in platform.placed if placed.envelope.size_bytes > len(LONG)]


async def kill_its_agent(platform: Platform, death: int) -> None:
    """As the request would: the agent that has it dies at once."""
    await eventually(lambda: len(copies(platform)) >= death, timeout_s=10)
    platform.agents[copies(platform)[-1].pod].signal(signal.SIGKILL)


async def take_over(platform: Platform) -> None:
    """Another dispatcher serves the pool, and knows where the request is."""
    epoch, rid = await platform.epoch(), copies(platform)[0].envelope.rid
    (await platform.owner()).signal(signal.SIGKILL)

    async def is_known() -> bool:
        state = await platform.where(rid)
        assert state != "settled", "it has started, so its agents die of nothing"
        return await platform.epoch() > epoch and state == "placed"

    await eventually(is_known, timeout_s=10)


async def is_noted(platform: Platform) -> bool:
    return bool(await platform.bus.store("REIGNS").entries("deaths"))


async def dead_letters(platform: Platform) -> list[DeadLetter]:
    letters: list[DeadLetter] = []

    async def read(delivery: Delivery) -> None:
        letters.append(decode(delivery.data, DeadLetter))

    subject = platform.bus.subjects.dead("REQUESTS")
    consumption = await platform.bus.queue.consume(Consumer("DEAD", "reader", subject, 60.0, 100), read, credits=100)
    await eventually(lambda: letters, timeout_s=5)
    await consumption.stop()
    return letters


@pytest.mark.parametrize("takeover", [False, True])
async def test_a_request_at_which_two_agents_died_ends_with_502_and_a_dead_letter(
    tmp_path: Path, takeover: bool
) -> None:
    async with (
        Platform(tmp_path, agents=3, prefill_tokens_per_s=PREFILL_TOKENS_PER_S) as platform,
        httpx.AsyncClient(timeout=30) as client,
    ):
        load = SteadyLoad(platform.url, model=MODEL, tokens=TOKENS, every_s=0.2)
        async with load.running():
            body = chat(LONG, model=MODEL, tokens=1, stream=False)
            asking = asyncio.create_task(client.post(f"{platform.url}/v1/chat/completions", json=body))
            await kill_its_agent(platform, 1)
            await eventually(lambda: is_noted(platform), timeout_s=10)
            if takeover:
                await take_over(platform)
            await kill_its_agent(platform, 2)
            answer = await asking
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "poison")
        assert len({placed.pod for placed in copies(platform)}) == 2
        buried = {decode(letter.data, Envelope).rid for letter in await dead_letters(platform)}
        assert copies(platform)[0].envelope.rid in buried
        assert all(answer.error for answer in load.unanswered()), "what ran beside it is answered, or told why not"
        assert all(answer.done or answer.error for answer in load.answers)
        await eventually(platform.is_drained, timeout_s=10, every_s=0.1)
