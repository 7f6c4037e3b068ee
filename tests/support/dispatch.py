"""A dispatcher's surroundings, played by the test: gateways that ask, agents that run what the test lets them run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar, cast

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock, ManualClock
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Abort, Done, Dump, Dumped, Order
from matrixinfer.bus.contracts.decision import Decision, DecisionBatch
from matrixinfer.bus.contracts.dispatch import Cancelled, CancelNotice, QueueReport, WhereAnswer, WhereQuestion
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Failure, Frame
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Outcome, Snapshot, WorkKey
from matrixinfer.bus.contracts.serving import Pool, PoolPod, pod_key, pool_key
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.ids import new_boot_id, request_message_id
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.ports import (
    Backlog,
    Change,
    Consumer,
    Consumption,
    Delivery,
    Leases,
    Queue,
    Signal,
    Signals,
    Store,
    Subscription,
    Watch,
)
from matrixinfer.bus.ports.queue import DeliveryHandler
from matrixinfer.bus.ports.signals import SignalHandler
from matrixinfer.bus.topology import ACK_WAIT_WORK_S
from matrixinfer.handlers.dispatch.main import run
from matrixinfer.handlers.dispatch.settings import DispatchSettings

T = TypeVar("T")

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

    async def finish(self, rid: str, outcome: Outcome = "completed") -> None:
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
        await self._ended(key, outcome, was_started)

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

    async def _ended(self, key: WorkKey, outcome: Outcome, was_started: bool) -> None:
        finished = Finished(key, outcome, was_started)
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


class Gate:
    """Between a process and all that wakes it up: its clock, its messages, the leases of others."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()

    def close(self) -> None:
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    def around(self, bus: Bus) -> Bus:
        return replace(
            bus,
            clock=GatedClock(bus.clock, self._opened),
            signals=GatedSignals(bus.signals, self),
            queue=GatedQueue(bus.queue, self),
            leases=GatedLeases(bus.leases, self),
            store=lambda bucket: GatedStore(bus.store(bucket), self._opened),
        )

    def gated(self, handler: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
        async def wait_and_handle(message: T) -> None:
            await self._opened.wait()
            await handler(message)

        return wait_and_handle


class GatedClock:
    def __init__(self, clock: Clock, opened: asyncio.Event) -> None:
        self.now = clock.now
        self.monotonic = clock.monotonic
        self._clock = clock
        self._opened = opened

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        await self._opened.wait()


class GatedSignals:
    def __init__(self, signals: Signals, gate: Gate) -> None:
        self.publish = signals.publish
        self.request = signals.request
        self._signals = signals
        self._gate = gate

    async def subscribe(self, subject: str, handler: SignalHandler, *, group: str = "") -> Subscription:
        return await self._signals.subscribe(subject, self._gate.gated(handler), group=group)


class GatedQueue:
    def __init__(self, queue: Queue, gate: Gate) -> None:
        self.post = queue.post
        self.post_later = queue.post_later
        self.bury = queue.bury
        self.remove = queue.remove
        self.backlog = queue.backlog
        self._queue = queue
        self._gate = gate

    async def consume(self, consumer: Consumer, handler: DeliveryHandler, *, credits: int) -> Consumption:
        return await self._queue.consume(consumer, self._gate.gated(handler), credits=credits)


class GatedStore:
    def __init__(self, store: Store, opened: asyncio.Event) -> None:
        self.get = store.get
        self.put = store.put
        self.delete = store.delete
        self.entries = store.entries
        self._store = store
        self._opened = opened

    async def watch(self, prefix: str = "") -> Watch:
        return GatedWatch(await self._store.watch(prefix), self._opened)


class GatedWatch:
    def __init__(self, watch: Watch, opened: asyncio.Event) -> None:
        self.snapshot = watch.snapshot
        self.close = watch.close
        self._watch = watch
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Change]:
        async for change in self._watch:
            await self._opened.wait()
            yield change


class GatedLeases:
    def __init__(self, leases: Leases, gate: Gate) -> None:
        self.acquire = leases.acquire
        self.renew = leases.renew
        self.release = leases.release
        self.claim = leases.claim
        self.holders = leases.holders
        self._leases = leases
        self._gate = gate

    async def follow(
        self, prefix: str, handler: Callable[[dict[str, str]], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        return await self._leases.follow(prefix, self._gate.gated(handler))


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

    async def pool(self, modelserver: str = MS, shards: int = 1) -> None:
        pool = Pool(NS, modelserver, "Simulated", shards)
        await self.bus.store("SERVING").put(pool_key(NS, modelserver), encode(pool))
        await self.settle()

    async def delete_pool(self, modelserver: str = MS) -> None:
        await self.bus.store("SERVING").delete(pool_key(NS, modelserver))
        await self.settle()

    async def list_pod(self, pod: str, *, draining: bool = False, modelserver: str = MS) -> None:
        value = encode(PoolPod(NS, modelserver, pod, draining=draining))
        await self.bus.store("SERVING").put(pod_key(NS, modelserver, pod), value)
        await self.settle()

    async def agent(
        self, pod: str, slots: int = 2, *, eager: bool = False, modelserver: str = MS, is_slow_to_pull: bool = False
    ) -> ScriptedAgent:
        """A pod that is listed and speaks."""
        agent = ScriptedAgent(self.broker.connect(), pod, slots, eager=eager, modelserver=modelserver)
        agent.is_slow_to_pull = is_slow_to_pull
        self.agents.append(agent)
        await self.list_pod(pod, modelserver=modelserver)
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
        epoch = max((entry.revision for key, entry in claims.items() if key.endswith(f".{modelserver}.{shard}")))
        subject = self.bus.subjects.infer_filter(NS, modelserver, shard)
        return await self.bus.queue.backlog(Consumer("REQUESTS", f"{name}{epoch}", subject, 3600.0, 40_000))

    async def is_all_acknowledged(self) -> bool:
        return await self.backlog() == Backlog(0, 0)

    async def dead_letters(self) -> list[bytes]:
        return await self._read("DEAD", self.bus.subjects.dead("REQUESTS"))

    async def decisions(self) -> list[Decision]:
        batches = await self._read("DECISIONS", self.bus.subjects.decision(NS, MS))
        return [decision for batch in batches for decision in decode(batch, DecisionBatch).decisions]

    async def _read(self, stream: str, subject: str) -> list[bytes]:
        read: list[bytes] = []

        async def keep(delivery: Delivery) -> None:
            read.append(delivery.data)

        consumption = await self.bus.queue.consume(Consumer(stream, "reader", subject, 60.0, 1000), keep, credits=1000)
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
