"""Every process of the platform is killed in turn, with a hundred requests running and a hundred queued.

Every fourth is unstreamed: its client sees nothing before the answer is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.load import LoadEvent
from matrixinfer.bus.jetstream import connect
from matrixinfer.bus.ports import Signal
from matrixinfer.bus.settings import BusSettings
from support.clients import Answer, ask, chat
from support.eventually import eventually
from support.house import House

REQUESTS = 200
UNSTREAMED_EVERY = 4
SLOTS = 34  # of three agents: about a hundred run, the rest waits in the queue
TOKENS = 60
STEP_S = 0.1  # so an answer takes six seconds, and the queued ones start while the dust settles
DEADLINE_S = 60

MANIFEST = f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata:
  name: simulated
spec:
  backends:
    - name: main
      type: Simulated
      minReplicas: 3
      maxReplicas: 3
      config: {{slots: {SLOTS}, decode_step_s: {STEP_S}, decode_step_per_request_s: 0}}
"""

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    manifest = tmp_path / "model.yaml"
    manifest.write_text(MANIFEST)
    async with House(tmp_path / "data", "-f", str(manifest), "--gateways", "2") as house:
        yield house


def question(stream: bool) -> dict[str, Any]:
    return chat("the same for all", model="simulated", tokens=TOKENS, stream=stream)


async def flood(house: House, victim: int | None) -> list[Answer]:
    """Send all requests, kill `victim` when a hundred run, and return every answer."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=DEADLINE_S, limits=limits) as client:
        questions = [question(stream=number % UNSTREAMED_EVERY > 0) for number in range(REQUESTS)]
        tasks = [asyncio.create_task(ask(client, house.url, each)) for each in questions]
        async with RunningCounts(house) as counts:
            await eventually(counts.are_full, timeout_s=15)
            if victim is not None:
                house.kill(victim)
            async with asyncio.timeout(DEADLINE_S):
                answers = await asyncio.gather(*tasks)
            await eventually(lambda: counts.running() == 0 and counts.waiting() == 0, timeout_s=15)
    return answers


class RunningCounts:
    """What the agents say that they run, heard on the bus."""

    def __init__(self, house: House) -> None:
        self._settings = BusSettings(url=house.record()["bus_url"], name="test")
        self._newest: dict[str, LoadEvent] = {}

    async def __aenter__(self) -> RunningCounts:
        self._bus = await connect(self._settings, SystemClock())
        await self._bus.signals.subscribe(self._bus.subjects.load_filter(), self._hear)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._bus.link.close()

    async def _hear(self, signal: Signal) -> None:
        event = decode(signal.data, LoadEvent)
        if event.snapshot is not None:
            self._newest[event.pod] = event

    def running(self) -> int:
        return sum(len(event.snapshot.running) for event in self._newest.values() if event.snapshot)

    def are_full(self) -> bool:
        """An unstreamed request is told as waiting until its answer comes, though it has its slot."""
        return self.running() >= SLOTS and self.running() + self.waiting() >= 3 * SLOTS - 2

    def waiting(self) -> int:
        return sum(len(event.snapshot.waiting) for event in self._newest.values() if event.snapshot)


def whole(answers: list[Answer]) -> list[Answer]:
    """Those with every token, and no token twice or out of its place. An unstreamed one that ran on a killed agent may
    be among them: its client had seen nothing, so it was placed anew."""
    full = [each for each in answers if each.done and not each.error and len(each.text.split()) == TOKENS]
    assert len({each.text for each in full}) == 1, "the same question has one answer, streamed or not"
    return full


@pytest.mark.parametrize("words", [("matrixinfer", "handlers"), ("matrixinfer", "node"), ("nats-server",)])
async def test_a_killed_process_between_client_and_engine_is_invisible(house: House, words: tuple[str, ...]) -> None:
    [victim] = house.pids(*words)

    answers = await flood(house, victim)

    assert [answer for answer in answers if answer not in whole(answers)] == []


async def test_what_ran_on_a_killed_agent_ends_with_an_error_and_all_else_is_answered(house: House) -> None:
    victim = house.pids("matrixinfer", "agent")[0]

    answers = await flood(house, victim)

    good = whole(answers)
    lost = [answer for answer in answers if answer not in good]
    assert 1 <= len(lost) <= SLOTS
    assert all(answer.error and not answer.broken for answer in lost), lost
    assert all(answer.status == 200 if answer.stream else answer.status >= 500 for answer in lost), lost
    assert len(good) + len(lost) == REQUESTS


async def test_a_killed_gateway_worker_takes_only_its_own_clients_along(house: House) -> None:
    victim = house.pids("matrixinfer", "gateway")[0]

    answers = await flood(house, victim)

    good = whole(answers)
    broken = [answer for answer in answers if answer.broken]
    assert 1 <= len(broken) < REQUESTS
    assert len(good) + len(broken) == REQUESTS
    assert len(house.pids("matrixinfer", "gateway")) == 2
