from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.gateway.main import Worker
from matrixinfer.gateway.pipeline.intake import Ask
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.settings import GatewaySettings
from unit.gateway.farside import MODEL, FarSide, publish_route


@dataclass
class Rig:
    """A worker without its doors, on a clock that stands still, opposite a scripted dispatch and agent."""

    clock: ManualClock
    broker: MemoryBroker
    bus: Bus
    worker: Worker
    far: FarSide

    async def begin(self, *, timeout_s: float = 300.0, stream: bool = True, pad_to: int = 0) -> Exchange:
        """`pad_to` bytes are the length of the body, where it is shorter: JSON may end in blanks."""
        body = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user"}], "stream": stream}).ljust(pad_to)
        headers = {b"x-request-timeout-s": str(timeout_s).encode()}
        exchange = await self.worker.intake.begin(Ask("", "chat.completions", "default", headers, body))
        await self.clock.advance(0)
        return exchange


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    clock = ManualClock()
    broker = MemoryBroker(clock)
    bus = broker.connect()
    await publish_route(bus)
    far = FarSide(broker.connect())
    await far.start()
    worker = Worker(GatewaySettings(client_buffer_bytes=64 * 1024, post_patience_s=5.0), bus)
    await worker.start()
    tasks = [asyncio.create_task(worker.serving.run()), asyncio.create_task(worker.watchdog.run())]
    await clock.advance(0)
    yield Rig(clock, broker, bus, worker, far)
    for task in tasks:
        assert not task.done(), "a background part died"
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await worker.close()
