"""An agent's worker on the memory bus and a clock moved by hand, with an engine that a test speaks through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import msgspec

from matrixinfer.agents.engines.port import Emit, EngineInfo, EngineLoad, Job, Piece
from matrixinfer.agents.worker.counterparts import LAST_WORDS_S
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.worker import Worker
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Dumped, Order, Replayed, Reply
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Chunk, Failure, Frame, Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, WorkKey
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.ids import work_message_id
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.ports import Backlog, Consumer, Delivery, Signal, Subscription
from matrixinfer.bus.topology import ACK_WAIT_WORK_S

ME = Identity("ns", "pod.0", "boot-1")


class ScriptedEngine:
    """Does nothing by itself: the test emits. `abort` ends a job as the port promises it, unless it is `stubborn`."""

    def __init__(self, slots: int = 4) -> None:
        self.info = EngineInfo("Scripted", "m", slots, kv_capacity_tokens=1000)
        self.jobs: dict[str, Job] = {}
        self.aborted: list[str] = []
        self.stubborn = False
        self.is_closed = False
        self._emits: dict[str, Emit] = {}

    async def start(self) -> EngineInfo:
        return self.info

    def generate(self, job: Job, emit: Emit) -> None:
        assert job.rid not in self._emits, "the port wants a rid that is unique among what runs"
        self.jobs[job.rid] = job
        self._emits[job.rid] = emit

    def abort(self, rid: str) -> None:
        self.aborted.append(rid)
        if not self.stubborn:
            self.fail(rid, Failure(499, "aborted", code="cancelled"))

    def load(self) -> EngineLoad:
        return EngineLoad(running_tokens=7, waiting_tokens=3, kv_usage=0.25, adapters=("lora",))

    async def close(self) -> None:
        self.is_closed = True
        for rid in list(self._emits):
            self.fail(rid, Failure(503, "closed"))

    def emit(self, rid: str, data: bytes = b"token", tokens: int = 1) -> None:
        self._emits[rid](Piece(data, tokens=tokens))

    def finish(self, rid: str, data: bytes = b"last", output_tokens: int = 5) -> None:
        if rid in self._emits:
            self._emits.pop(rid)(Piece(data, tokens=1, final=True, usage=Usage(10, 2, output_tokens)))

    def fail(self, rid: str, failure: Failure) -> None:
        if rid in self._emits:
            self._emits.pop(rid)(Piece(b"", final=True, failure=failure))

    @property
    def active(self) -> set[str]:
        return set(self._emits)


class FakeGateway:
    """Hears frames and answers those who ask whether it is there."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.frames: list[Frame] = []
        self.name = name
        self._bus = bus
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        self._subscription = await self._bus.signals.subscribe(self._bus.subjects.frames(self.name), self._hear)

    async def leave(self) -> None:
        assert self._subscription is not None
        await self._subscription.close()

    async def _hear(self, signal: Signal) -> None:
        frame = decode(signal.data, Frame)
        if frame.chunks:
            self.frames.append(frame)
        await signal.respond(b"")

    def chunks(self, rid: str | None = None) -> list[Chunk]:
        return [chunk for frame in self.frames for chunk in frame.chunks if rid in (None, chunk.rid)]


class AgentHouse:
    """One worker, what surrounds it, and what was heard of it."""

    def __init__(self, slots: int, drain_s: float, replay_bytes: int) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.bus = self.broker.connect()
        """The worker's own connection."""
        self.others = self.broker.connect()
        """The connection of dispatch and gateways."""
        self.engine = ScriptedEngine(slots)
        self.events: list[LoadEvent] = []
        self.stop = asyncio.Event()
        self._drain_s = drain_s
        self.worker = Worker(
            ME, self.bus, self.engine, self.engine.info, served_model="m", drain_s=drain_s, replay_bytes=replay_bytes
        )
        self.running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.others.signals.subscribe(self.others.subjects.load_filter(), self._hear_load)
        self.running = asyncio.create_task(self.worker.run(self.stop))
        await self.settle()

    async def close(self) -> None:
        if self.running is None:
            return
        self.stop.set()
        await self.settle()
        for rid in self.engine.active:
            self.engine.finish(rid)
        await self.settle()
        if not self.running.done():  # it waits for another agent
            await self.clock.advance(self._drain_s + LAST_WORDS_S)
        await self.running

    async def settle(self) -> None:
        """Let everything that can happen without time happen."""
        await self.clock.advance(0)
        await self.clock.advance(0)

    async def gateway(self, name: str = "g1") -> FakeGateway:
        gateway = FakeGateway(self.others, name)
        await gateway.open()
        return gateway

    async def place(self, rid: str, **fields: object) -> str:
        """What dispatch does; returns the message id."""
        envelope = msgspec.structs.replace(_ENVELOPE, rid=rid, **fields)
        e = envelope
        message_id = work_message_id(e.rid, e.attempt, e.epoch, e.hop, e.phase)
        await self.post(encode(envelope), message_id)
        return message_id

    async def post(self, data: bytes, message_id: str) -> None:
        subject = self.others.subjects.work(ME.namespace, ME.pod)
        await (await self.others.queue.post(subject, data, message_id=message_id))
        await self.settle()

    async def ask(self, order: Order) -> Reply:
        subject = self.others.subjects.control(ME.namespace, ME.pod)
        data = await self.others.signals.request(subject, encode(order), timeout_s=1.0)
        await self.settle()
        return decode(data, cast("type[Reply]", Reply))

    async def replayed(self, order: Order) -> Replayed:
        reply = await self.ask(order)
        assert isinstance(reply, Replayed)
        return reply

    async def dumped(self, order: Order) -> Dumped:
        reply = await self.ask(order)
        assert isinstance(reply, Dumped)
        return reply

    async def refuse_to_publish(self, subject: str, data: bytes) -> None:
        """What `publish` does when the buffer of a broken connection is full."""
        raise Unavailable(f"no room for {len(data)} bytes on {subject}")

    async def backlog(self) -> Backlog:
        """Of the worker's own durable consumer."""
        name, subject = "a-ns-pod=2E0", self.others.subjects.work(ME.namespace, ME.pod)
        return await self.others.queue.backlog(Consumer("WORK", name, subject, ACK_WAIT_WORK_S, 64))

    async def dead_letters(self) -> list[DeadLetter]:
        letters: list[DeadLetter] = []

        async def read(delivery: Delivery) -> None:
            letters.append(decode(delivery.data, DeadLetter))

        subject = self.others.subjects.dead("WORK")
        await self.others.queue.consume(Consumer("DEAD", "operator", subject, 60.0, 100), read, credits=100)
        await self.settle()
        return letters

    @property
    def started(self) -> list[WorkKey]:
        return [key for event in self.events for key in event.started]

    @property
    def finished(self) -> list[Finished]:
        return [finished for event in self.events for finished in event.finished]

    async def _hear_load(self, signal: Signal) -> None:
        self.events.append(decode(signal.data, LoadEvent))


_ENVELOPE = Envelope(
    rid="r",
    epoch=1,
    hop=1,
    boot=ME.boot,
    tenant="t",
    namespace="ns",
    modelserver="ms",
    gateway="g1",
    remaining_s=60.0,
    endpoint="chat.completions",
    model="m",
    stream=True,
    body=b"{}",
)


@asynccontextmanager
async def agent_house(
    slots: int = 4, drain_s: float = 30.0, replay_bytes: int = 1024 * 1024
) -> AsyncIterator[AgentHouse]:
    house = AgentHouse(slots, drain_s, replay_bytes)
    await house.open()
    yield house
    await house.close()
