"""Dispatch and an agent as one scripted party on the other side of the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Abort, Done, Order, Replay, Replayed
from matrixinfer.bus.contracts.dispatch import Cancelled, CancelNotice, WhereAnswer, WhereQuestion
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Failure, Frame, Usage
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.contracts.serving import Pool, Route, Rule, Target, pool_key, route_key
from matrixinfer.bus.ports import Consumer, Delivery, Signal, Subscription

NAMESPACE, MODELSERVER, MODEL, POD, BOOT = "default", "ms", "tiny", "pod-a", "boot-1"

Script = Callable[[Envelope], Awaitable[None]]


async def publish_route(bus: Bus, route: Route | None = None, *, pool: bool = True) -> None:
    serving = bus.store("SERVING")
    route = route or Route(NAMESPACE, "r", MODEL, [Rule([Target(MODELSERVER)])])
    if pool:
        await serving.put(pool_key(NAMESPACE, MODELSERVER), encode(Pool(NAMESPACE, MODELSERVER, "Simulated")))
    await serving.put(route_key(route.namespace, route.name), encode(route))


def chunk(envelope: Envelope, number: int, data: bytes, kind: ChunkKind = ChunkKind.DATA, *, hop: int = 1) -> Chunk:
    usage = Usage(3, 0, 5) if kind is ChunkKind.END else None
    return Chunk(envelope.rid, envelope.attempt, hop, "whole", number, kind, data, usage)


def failed(envelope: Envelope, failure: Failure, number: int = 0) -> Chunk:
    return chunk(envelope, number, encode(failure), ChunkKind.FAILED)


class FarSide:
    """Collects what the gateway says; answers by its `script`, `where` and `memory`."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.boot = BOOT
        self.envelopes: list[Envelope] = []
        self.notices: list[Cancelled] = []
        self.orders: list[Order] = []
        self.questions: list[WhereQuestion] = []
        self.script: Script | None = None
        self.where: Callable[[WhereQuestion], WhereAnswer] = lambda _: WhereAnswer("placed", pod=POD)
        self.memory: dict[WorkKey, list[Chunk]] = {}
        """What the agent can replay; a key that is not here is unknown."""
        self._frame = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._agent: Subscription | None = None
        self._where: Subscription | None = None

    async def start(self, *, consume: bool = True) -> None:
        subjects, signals = self.bus.subjects, self.bus.signals
        await signals.subscribe(subjects.cancel(NAMESPACE, MODELSERVER), self._cancelled)
        await self.arrive()
        self._where = await signals.subscribe(subjects.where(NAMESPACE, MODELSERVER), self._asked_where)
        if consume:
            await self.consume()

    async def consume(self) -> None:
        requests = Consumer("REQUESTS", "d-test", self.bus.subjects.infer_filter(NAMESPACE, MODELSERVER, 0), 3600, 9999)
        await self.bus.queue.consume(requests, self._requested, credits=100_000)

    async def arrive(self) -> None:
        """The agent is there (again)."""
        self._agent = await self.bus.signals.subscribe(self.bus.subjects.control(NAMESPACE, POD), self._ordered)

    async def vanish(self) -> None:
        """The agent is gone: nobody answers to its name."""
        assert self._agent is not None
        await self._agent.close()

    async def send(self, envelope: Envelope, *chunks: Chunk, pod: str = POD, boot: str = "") -> None:
        self._frame += 1
        frame = Frame(NAMESPACE, pod, boot or self.boot, self._frame, list(chunks))
        await self.bus.signals.publish(self.bus.subjects.frames(envelope.gateway), encode(frame))

    async def stream(self, envelope: Envelope, pieces: Iterable[bytes], *, end: bool = True) -> None:
        """One frame for each piece; the last one ends the answer."""
        pieces = list(pieces)
        for number, data in enumerate(pieces):
            last = end and number == len(pieces) - 1
            await self.send(envelope, chunk(envelope, number, data, ChunkKind.END if last else ChunkKind.DATA))

    def aborted(self) -> list[WorkKey]:
        return [key for order in self.orders if isinstance(order, Abort) for key in order.keys]

    def replays(self) -> list[tuple[str, int]]:
        return [(i.key.rid, i.next_number) for order in self.orders if isinstance(order, Replay) for i in order.items]

    async def _requested(self, delivery: Delivery) -> None:
        envelope = decode(delivery.data, Envelope)
        self.envelopes.append(envelope)
        await delivery.ack()
        if self.script is not None:
            task = asyncio.ensure_future(self.script(envelope))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _cancelled(self, signal: Signal) -> None:
        self.notices += decode(signal.data, CancelNotice).requests

    async def _asked_where(self, signal: Signal) -> None:
        question = decode(signal.data, WhereQuestion)
        self.questions.append(question)
        await signal.respond(encode(self.where(question)))

    async def _ordered(self, signal: Signal) -> None:
        order: Order = decode(signal.data, Order)  # type: ignore[arg-type]
        self.orders.append(order)
        if isinstance(order, Replay):
            chunks = [c for i in order.items for c in self.memory.get(i.key, []) if c.number >= i.next_number]
            unknown = [i.key for i in order.items if i.key not in self.memory]
            await signal.respond(encode(Replayed(self.boot, chunks, unknown)))
        else:
            await signal.respond(encode(Done(self.boot)))
