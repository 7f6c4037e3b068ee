"""Agents and gateways as dispatch meets them: they keep the protocol, and do what the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Abort, Done, Dump, Dumped, Order
from matrixinfer.bus.contracts.dispatch import Cancelled, CancelNotice, WhereAnswer, WhereQuestion
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Failure, Frame, Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Outcome, Snapshot, WorkKey
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.ids import new_boot_id, request_message_id
from matrixinfer.bus.ports import (
    Consumer,
    Consumption,
    Delivery,
    Signal,
    Subscription,
)
from matrixinfer.bus.topology import ACK_WAIT_WORK_S

NO_USAGE = Usage()
NS = "default"
MS = "qwen"

ENVELOPE = Envelope(
    rid="",
    tenant="t",
    namespace=NS,
    modelserver=MS,
    gateway="g1",
    remaining_s=60.0,
    endpoint="chat.completions",
    model="m",
    body=b"{}",
)


def envelope(rid: str, **fields: object) -> Envelope:
    return msgspec.structs.replace(ENVELOPE, rid=rid, **fields)


def listed(*pods: str) -> dict[str, PoolPod]:
    """As SERVING lists them."""
    return {pod: PoolPod(NS, MS, pod) for pod in pods}


class ScriptedAgent:
    """Pulls as the protocol says, and tells of it; starts and ends what the test says, or all at once if `eager`.

    `pulled`, `started` and `refused` hold the keys of work in the order in which it happened, over all its lives.
    """

    def __init__(self, bus: Bus, pod: str, slots: int = 2, *, eager: bool = False, modelserver: str = MS) -> None:
        self.bus = bus
        self.pod = pod
        self.slots = slots
        self.eager = eager
        self.modelserver = modelserver
        self.boot = ""
        self.envelopes: dict[str, Envelope] = {}
        self.pulled: list[WorkKey] = []
        self.started: list[WorkKey] = []
        self.refused: list[WorkKey] = []
        self.aborted: list[WorkKey] = []
        self.most_at_once = 0
        self.draining = False
        self.skips_events = False
        self.loses_work = False
        self.is_slow_to_pull = False
        """It pulls when the test says so."""
        self._subscription: Subscription | None = None
        self._consumption: Consumption | None = None
        self._heart: asyncio.Task[None] | None = None

    async def boot_up(self) -> None:
        self.boot = new_boot_id()
        self._sequence = 0
        self.epochs: Counter[tuple[str, int]] = Counter()
        self.waiting: dict[WorkKey, Delivery] = {}
        self.running: set[WorkKey] = set()
        self._finished: list[Finished] = []
        self._frames: Counter[str] = Counter()
        self._subscription = await self.bus.signals.subscribe(self.bus.subjects.control(NS, self.pod), self._on_order)
        subject = self.bus.subjects.work(NS, self.pod)
        consumer = Consumer("WORK", f"a-{NS}-{self.pod}", subject, ACK_WAIT_WORK_S, 1000)
        self._consumption = await self.bus.queue.consume(consumer, self._on_work, credits=0)
        if not self.is_slow_to_pull:
            self.pull()
        await self.tell()
        self._heart = asyncio.create_task(self._beat())

    def pull(self) -> None:
        assert self._consumption
        self._consumption.grant(self.slots)

    async def die(self) -> None:
        """As a killed process: it says nothing more, and its name has no subscriber."""
        assert self._subscription
        assert self._consumption
        assert self._heart
        self._heart.cancel()
        await asyncio.wait([self._heart])
        await self._subscription.close()
        await self._consumption.stop()

    async def hang(self) -> None:
        """It still has its subscription, but does nothing."""
        assert self._consumption
        assert self._heart
        self._heart.cancel()
        await asyncio.wait([self._heart])
        await self._consumption.stop()
        self.boot = "hung"

    def key_of(self, rid: str) -> WorkKey:
        return next(key for key in [*self.waiting, *self.running] if key.rid == rid)

    @property
    def waiting_rids(self) -> list[str]:
        return [key.rid for key in self.waiting]

    async def start(self, rid: str) -> None:
        """The first token: acknowledged, told, and heard by the gateway."""
        key = self.key_of(rid)
        await self.waiting.pop(key).ack()
        self.running.add(key)
        self.started.append(key)
        await self._frame(key, ChunkKind.DATA)
        await self.tell(started=[key])

    async def finish(self, rid: str, outcome: Outcome = "completed", usage: Usage = NO_USAGE) -> None:
        key = self.key_of(rid)
        was_started = key in self.running
        self.running.discard(key)
        delivery = self.waiting.pop(key, None)
        if delivery is not None:
            await delivery.ack()
        assert self._consumption
        self._consumption.grant(1)
        if outcome in ("completed", "failed"):
            await self._frame(key, ChunkKind.END if outcome == "completed" else ChunkKind.FAILED)
        await self._ended(key, outcome, was_started, usage)

    async def tell(self, started: list[WorkKey] = [], finished: list[Finished] = []) -> None:  # noqa: B006
        self._sequence += 1
        if self.skips_events:
            return
        snapshot = self._snapshot()
        event = LoadEvent(NS, self.pod, self.boot, self._sequence, self.draining, started, finished, snapshot)
        await self.bus.signals.publish(self.bus.subjects.load(NS, self.pod), encode(event))

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.slots, running=sorted(self.running, key=str), waiting=list(self.waiting))

    async def _beat(self) -> None:
        while True:
            await self.bus.clock.sleep(0.5)
            try:
                await self.tell()
            except Unavailable:
                self._sequence -= 1

    async def _ended(self, key: WorkKey, outcome: Outcome, was_started: bool, usage: Usage = NO_USAGE) -> None:
        finished = Finished(key, outcome, was_started, usage)
        self._finished.append(finished)
        await self.tell(finished=[finished])

    async def _frame(self, key: WorkKey, kind: ChunkKind) -> None:
        gateway = self.envelopes[key.rid].gateway
        self._frames[gateway] += 1
        chunk = Chunk(key.rid, key.attempt, key.hop, key.phase, 0 if kind is ChunkKind.DATA else 1, kind, b"x")
        frame = Frame(NS, self.pod, self.boot, self._frames[gateway], [chunk])
        await self.bus.signals.publish(self.bus.subjects.frames(gateway), encode(frame))

    async def _on_work(self, delivery: Delivery) -> None:
        assert self._consumption
        if self.loses_work:
            await delivery.ack()
            self._consumption.grant(1)
            return
        work = decode(delivery.data, Envelope)
        key = WorkKey(work.rid, work.attempt, work.hop, work.phase)
        if key in self.waiting or key in self.started:
            await delivery.ack()
            self._consumption.grant(1)
            return
        self.pulled.append(key)
        self.envelopes[work.rid] = work
        pool = (work.modelserver, work.shard)
        if work.boot != self.boot or work.epoch < self.epochs[pool] or key in self.aborted:
            self.refused.append(key)
            await delivery.ack()
            self._consumption.grant(1)
            await self._ended(key, "cancelled" if key in self.aborted else "refused", False)
            return
        self.epochs[pool] = work.epoch
        self.waiting[key] = delivery
        self.most_at_once = max(self.most_at_once, len(self.waiting) + len(self.running))
        if self.eager:
            await self.start(work.rid)
            await self.finish(work.rid)

    async def _on_order(self, signal: Signal) -> None:
        if self.boot == "hung":
            return
        order = decode(signal.data, cast("type[Order]", Order))
        if isinstance(order, Dump):
            pool = (order.modelserver, order.shard)
            self.epochs[pool] = max(self.epochs[pool], order.epoch)
            snapshot = self._snapshot()
            dumped = Dumped(self.boot, self._sequence, self.draining, snapshot, list(self._finished))
            await signal.respond(encode(dumped))
            return
        if isinstance(order, Abort):
            self.aborted += order.keys
            for key in order.keys:
                if key in self.waiting:
                    await self.finish(key.rid, "cancelled")
        await signal.respond(encode(Done(self.boot)))


class ScriptedGateway:
    """Posts requests and keeps what comes back."""

    def __init__(self, bus: Bus, name: str = "g1") -> None:
        self.bus = bus
        self.name = name
        self.chunks: list[Chunk] = []
        self.frames: list[Frame] = []
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        self._subscription = await self.bus.signals.subscribe(self.bus.subjects.frames(self.name), self._on_frame)

    async def leave(self) -> None:
        assert self._subscription
        await self._subscription.close()

    async def post(self, rid: str, **fields: object) -> None:
        request = envelope(rid, gateway=self.name, **fields)
        subject = self.bus.subjects.infer(NS, request.modelserver, request.shard, request.tenant)
        message_id = request_message_id(rid, request.attempt)
        ttl_s = max(1.0, request.remaining_s) + 5.0
        await (await self.bus.queue.post(subject, encode(request), message_id=message_id, ttl_s=ttl_s))

    async def cancel(self, rid: str, attempt: int = 1) -> None:
        notice = CancelNotice([Cancelled(rid, attempt, 60.0)])
        await self.bus.signals.publish(self.bus.subjects.cancel(NS, MS), encode(notice))

    async def where(self, rid: str, attempt: int = 1) -> WhereAnswer:
        question = encode(WhereQuestion(rid, attempt))
        answer = await self.bus.signals.request(self.bus.subjects.where(NS, MS), question, timeout_s=1.0)
        return decode(answer, WhereAnswer)

    def failures(self) -> dict[str, Failure]:
        """rid → what dispatch itself said about it."""
        return {
            chunk.rid: decode(chunk.data, Failure)
            for frame in self.frames
            if not frame.pod
            for chunk in frame.chunks
            if chunk.kind is ChunkKind.FAILED
        }

    async def _on_frame(self, signal: Signal) -> None:
        frame = decode(signal.data, Frame)
        self.frames.append(frame)
        self.chunks += frame.chunks
        await signal.respond(b"")
