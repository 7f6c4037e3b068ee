"""Dispatchers, and all that surrounds them, on one memory broker and a clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.decision import Decision, DecisionBatch
from matrixinfer.bus.contracts.dispatch import QueueReport
from matrixinfer.bus.contracts.serving import Pool, PoolPod, pod_key, pool_key
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.ports import (
    Backlog,
    Consumer,
    Delivery,
    Entry,
    Signal,
)
from matrixinfer.handlers.dispatch.main import run
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.freezing import Gate
from support.scripted import MS, NS, ScriptedAgent, ScriptedGateway


def claimed_epoch(claim: Entry) -> int:
    """The epoch in a claim as it is stored: owner and epoch."""
    return int(msgspec.msgpack.decode(claim.value)[1])


class RunningDispatcher:
    """A dispatcher on a connection of its own."""

    def __init__(self, bus: Bus, settings: DispatchSettings) -> None:
        self._gate = Gate()
        self.bus = self._gate.around(bus)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(run(settings, self.bus, self.stop))

    def freeze(self) -> None:
        """As SIGSTOP does: time goes on and messages pile up, but it notices nothing."""
        self._gate.close()

    def thaw(self) -> None:
        self._gate.open()

    async def kill(self) -> None:
        """As SIGKILL does: nothing is released, nothing is said."""
        await self.bus.link.close()
        self.task.cancel()
        await asyncio.wait([self.task])


class DispatchHouse:
    """Everything on one memory broker and a clock moved by hand."""

    def __init__(self, settings: DispatchSettings) -> None:
        self.settings = settings
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.bus = self.broker.connect()
        """The connection of reconcilers, gateways and observers."""
        self.gateway = ScriptedGateway(self.bus)
        self.agents: list[ScriptedAgent] = []
        self.dispatchers: list[RunningDispatcher] = []
        self.reports: list[QueueReport] = []

    async def open(self) -> None:
        await self.gateway.open()
        await self.bus.signals.subscribe(self.bus.subjects.queue(NS, MS), self._on_report)

    async def close(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.stop.set()
        await self.pass_time(0.5)
        for agent in self.agents:
            await agent.die()
        for dispatcher in self.dispatchers:
            if not dispatcher.task.cancelled():
                await dispatcher.task

    async def settle(self) -> None:
        await self.pass_time(0)

    async def pass_time(self, seconds: float) -> None:
        """Time goes on in small steps, as it does, so that nobody seems to have stood still."""
        for _ in range(int(seconds / 0.25)):
            await self.clock.advance(0.25)
        for _ in range(3):
            await self.clock.advance(0)

    async def dispatcher(self) -> RunningDispatcher:
        dispatcher = RunningDispatcher(self.broker.connect(), self.settings)
        self.dispatchers.append(dispatcher)
        await self.pass_time(1.5)
        return dispatcher

    async def pool(self, modelserver: str = MS, shards: int = 1, **fields: Any) -> None:
        """`fields` are more of the Pool's."""
        pool = Pool(NS, modelserver, "Simulated", shards, **fields)
        await self.bus.store("SERVING").put(pool_key(NS, modelserver), encode(pool))
        await self.settle()

    async def delete_pool(self, modelserver: str = MS) -> None:
        await self.bus.store("SERVING").delete(pool_key(NS, modelserver))
        await self.settle()

    async def list_pod(self, pod: str, *, draining: bool = False, modelserver: str = MS, shard: int = 0) -> None:
        value = encode(PoolPod(NS, modelserver, pod, draining=draining, shard=shard))
        await self.bus.store("SERVING").put(pod_key(NS, modelserver, pod), value)
        await self.settle()

    async def agent(
        self,
        pod: str,
        slots: int = 2,
        *,
        eager: bool = False,
        modelserver: str = MS,
        is_slow_to_pull: bool = False,
        shard: int = 0,
    ) -> ScriptedAgent:
        """A pod that is listed and speaks."""
        agent = ScriptedAgent(self.broker.connect(), pod, slots, eager=eager, modelserver=modelserver)
        agent.is_slow_to_pull = is_slow_to_pull
        self.agents.append(agent)
        await self.list_pod(pod, modelserver=modelserver, shard=shard)
        await agent.boot_up()
        await self.settle()
        return agent

    async def post(self, *rids: str, **fields: object) -> None:
        for rid in rids:
            await self.gateway.post(rid, **fields)
        await self.settle()

    async def backlog(self, modelserver: str = MS, shard: int = 0) -> Backlog:
        """Of the shard's requests: whatever is stored and not acknowledged, in `waiting` or `unacknowledged`."""
        name = f"d-{NS}-{modelserver}-{shard}-"
        claims = await self.bus.store("LEASES").entries("pool")
        epoch = max(claimed_epoch(entry) for key, entry in claims.items() if key.endswith(f".{modelserver}.{shard}"))
        subject = self.bus.subjects.infer_filter(NS, modelserver, shard)
        return await self.bus.queue.backlog(Consumer("REQUESTS", f"{name}{epoch}", subject, 3600.0, 40_000))

    async def is_all_acknowledged(self) -> bool:
        return await self.backlog() == Backlog(0, 0)

    async def dead_letters(self) -> list[bytes]:
        return await self.read("DEAD", self.bus.subjects.dead("REQUESTS"))

    async def decisions(self, modelserver: str = MS) -> list[Decision]:
        batches = await self.read("DECISIONS", self.bus.subjects.decision(NS, modelserver))
        return [decision for batch in batches for decision in decode(batch, DecisionBatch).decisions]

    async def read(self, stream: str, subject: str) -> list[bytes]:
        read: list[bytes] = []

        async def keep(delivery: Delivery) -> None:
            read.append(delivery.data)

        consumption = await self.bus.queue.consume(
            Consumer(stream, f"reader-{subject.replace('.', '-')}", subject, 60.0, 1000), keep, credits=1000
        )
        await self.settle()
        await consumption.stop()
        return read

    async def _on_report(self, signal: Signal) -> None:
        self.reports.append(decode(signal.data, QueueReport))


@asynccontextmanager
async def dispatch_house(**settings: object) -> AsyncIterator[DispatchHouse]:
    """With the pool `default/qwen`; agents and dispatchers come by the test."""
    house = DispatchHouse(DispatchSettings.model_validate(settings))
    await house.open()
    await house.pool()
    yield house
    await house.close()
