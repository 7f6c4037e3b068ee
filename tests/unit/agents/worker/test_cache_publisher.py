"""Cache events of a whole worker: paced, in order, and honest about those that could not be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.cache import BlocksStored, CacheEvent
from matrixinfer.bus.ids import work_message_id
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.ports import Signal
from support.scripted import NS, envelope
from support.told_caches import Prompt, TellingAgent

POD = "p1"


class Listener:
    """Hears the cache events of one agent, and gives it work."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.bus = self.broker.connect()
        self.agent = TellingAgent(self._connect, POD)
        self.events: list[CacheEvent] = []

    async def open(self) -> None:
        await self.bus.signals.subscribe(self.bus.subjects.cache_filter(), self._hear)
        await self.agent.boot_up()
        await self.clock.advance(0.25)

    async def work(self, rid: str, prompt: Prompt) -> None:
        work = envelope(rid, epoch=1, hop=1, boot=self.agent.boot, **prompt.envelope_fields())
        message_id = work_message_id(rid, 1, 1, 1, "whole")
        subject = self.bus.subjects.work(NS, POD)
        await (await self.bus.queue.post(subject, encode(work), message_id=message_id))

    async def _connect(self) -> Bus:
        return self.broker.connect()

    async def _hear(self, signal: Signal) -> None:
        self.events.append(decode(signal.data, CacheEvent))


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    await listener.open()
    yield listener
    await listener.agent.die()


async def test_much_work_makes_ten_events_a_second_at_most_and_every_block_is_told(listener: Listener) -> None:
    before = len(listener.events)
    prompts = [Prompt(chr(ord("a") + number), blocks=1) for number in range(20)]
    for number, prompt in enumerate(prompts):
        await listener.work(f"r{number}", prompt)
        for _ in range(5):
            await listener.clock.advance(0.01)
    await listener.clock.advance(0.2)
    events = listener.events[before:]
    assert 5 <= len(events) <= 12
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    told = b"".join(change.hashes for event in events for change in event.changes if isinstance(change, BlocksStored))
    assert told == b"".join(prompt.hashes for prompt in prompts)


async def test_an_event_that_was_lost_leaves_a_gap_and_is_not_sent_again(listener: Listener) -> None:
    listener.agent.loses_events = True
    await listener.work("lost", Prompt("a"))
    await listener.clock.advance(0.3)
    listener.agent.loses_events = False
    await listener.work("heard", Prompt("b"))
    await listener.clock.advance(0.3)
    last = listener.events[-1]
    assert (last.sequence, last.changes) == (2, [BlocksStored(Prompt("b").hashes)])
