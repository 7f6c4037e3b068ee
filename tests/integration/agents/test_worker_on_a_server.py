"""The worker with the simulated engine on a real nats-server: nothing is lost, whatever happens to the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec

from matrixinfer.agents.engines import registry
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.worker import Worker
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Abort, Order, Replay, Replayed, ReplayItem, Reply
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Frame
from matrixinfer.bus.contracts.load import Finished, LoadEvent, WorkKey
from matrixinfer.bus.errors import BusError, NobodyThere, TimedOut, Unavailable
from matrixinfer.bus.ids import work_message_id
from matrixinfer.bus.ports import Signal, Subscription
from matrixinfer.bus.topology import Part
from support.eventually import eventually
from support.nats import RunningServer, connected, running_server
from support.wire import Wire

ME = Identity("ns", "pod.0", "boot-1")
STREAMS = 8
TOKENS = 150
STEP_S = 0.02


class Listener:
    """Gateway and dispatch in one: posts work, collects chunks by number and load events, asks for replays.

    What it hears as a gateway comes over a `wire` that can be cut; load events come over a connection of their own.
    """

    def __init__(self, bus: Bus, load_bus: Bus, wire: Wire) -> None:
        self.bus = bus
        self.load_bus = load_bus
        self.wire = wire
        self.chunks: dict[WorkKey, dict[int, Chunk]] = {}
        self.events: list[LoadEvent] = []
        self.replayed_chunks = 0
        self.subscription: Subscription | None = None

    async def open(self) -> None:
        self.subscription = await self.bus.signals.subscribe(self.bus.subjects.frames("g1"), self._on_frame)
        await self.load_bus.signals.subscribe(self.bus.subjects.load_filter(), self._on_load)

    async def place(self, rid: str, tokens: int) -> WorkKey:
        body = {"messages": [{"role": "user", "content": rid}], "max_tokens": tokens, "stream": True, "model": "m"}
        envelope = Envelope(
            rid=rid,
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
            body=msgspec.json.encode(body),
        )
        subject = self.bus.subjects.work(ME.namespace, ME.pod)
        await (await self.bus.queue.post(subject, encode(envelope), message_id=work_message_id(rid, 1, 1, 1, "whole")))
        key = WorkKey(rid, 1, 1)
        self.chunks[key] = {}
        return key

    async def ask(self, order: Order) -> Reply:
        subject = self.bus.subjects.control(ME.namespace, ME.pod)
        data = await self.bus.signals.request(subject, encode(order), timeout_s=2.0)
        return decode(data, cast("type[Reply]", Reply))

    async def ask_for_what_is_missing(self) -> None:
        items = [ReplayItem(key, self._next(key)) for key in self.chunks if not self.is_complete(key)]
        if not items:
            return
        reply = await self.ask(Replay(items))
        assert isinstance(reply, Replayed)
        assert (reply.boot, reply.unknown) == (ME.boot, [])
        for chunk in reply.chunks:
            self.replayed_chunks += self._keep(chunk)

    def is_complete(self, key: WorkKey) -> bool:
        chunks, last = self.chunks[key], self._next(key) - 1
        return last in chunks and chunks[last].kind is not ChunkKind.DATA

    def text(self, key: WorkKey) -> bytes:
        return b"".join(self.chunks[key][number].data for number in range(self._next(key)))

    def told_frames(self) -> int:
        """How many frames the agent says that it has sent to this gateway."""
        return max(event.snapshot.frame_numbers.get("g1", 0) for event in self.events if event.snapshot is not None)

    @property
    def finished(self) -> list[Finished]:
        return [finished for event in self.events for finished in event.finished]

    def _next(self, key: WorkKey) -> int:
        number = 0
        while number in self.chunks[key]:
            number += 1
        return number

    def _keep(self, chunk: Chunk) -> bool:
        known = self.chunks[WorkKey(chunk.rid, chunk.attempt, chunk.hop, chunk.phase)]
        is_new = chunk.number not in known
        assert is_new or known[chunk.number] == chunk
        known[chunk.number] = chunk
        return is_new

    async def _on_frame(self, signal: Signal) -> None:
        for chunk in decode(signal.data, Frame).chunks:
            self._keep(chunk)
        await signal.respond(b"")

    async def _on_load(self, signal: Signal) -> None:
        self.events.append(decode(signal.data, LoadEvent))


@asynccontextmanager
async def worker_on(server: RunningServer) -> AsyncIterator[Listener]:
    """A worker, with the rights of an agent, and its listener."""
    config = {"decode_step_s": STEP_S, "prefill_tokens_per_s": 0, "slots": STREAMS}
    engine = registry.create("Simulated", "", "m", config)
    wire = Wire(server.port)
    await wire.mend()
    async with (
        connected(server.url_of(Part.AGENT)) as agent_bus,
        connected(server.url) as load_bus,
        connected(server.url.replace(f":{server.port}", f":{wire.port}")) as bus,
    ):
        listener = Listener(bus, load_bus, wire)
        await listener.open()
        info = await engine.start()
        worker = Worker(ME, agent_bus, engine, info, served_model="m", drain_s=5.0, replay_bytes=1 << 24)
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        await eventually(lambda: listener.events or running.done())
        try:
            yield listener
        finally:
            stop.set()
            await running
    await wire.cut()


async def complete(listener: Listener, keys: list[WorkKey]) -> None:
    """Ask for what is missing until every stream is whole, and hold each against what was ordered."""

    async def is_whole() -> bool:
        try:
            await listener.ask_for_what_is_missing()
        except (Unavailable, NobodyThere, TimedOut):  # each connection comes back in its own time
            return False
        return all(map(listener.is_complete, keys))

    await eventually(is_whole, timeout_s=20.0, every_s=0.2)
    for key in keys:
        usage = listener.chunks[key][len(listener.chunks[key]) - 1].usage
        assert usage is not None
        assert usage.output_tokens == TOKENS
        assert listener.text(key).endswith(b"data: [DONE]\n\n")


async def test_a_gateway_that_was_cut_off_misses_frames_and_gets_every_chunk_by_replay(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, worker_on(server) as listener:
        keys = [await listener.place(f"r{n}", TOKENS) for n in range(STREAMS)]
        await eventually(lambda: all(len(listener.chunks[key]) > 10 for key in keys))
        await listener.wire.cut()
        await eventually(lambda: listener.told_frames() > len(listener.chunks[keys[0]]) + 20)
        await listener.wire.mend()
        await complete(listener, keys)
        assert listener.replayed_chunks > 20


async def test_a_killed_and_restarted_server_costs_no_chunk_of_any_stream(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, worker_on(server) as listener:
        keys = [await listener.place(f"r{n}", TOKENS) for n in range(STREAMS)]
        await eventually(lambda: all(len(listener.chunks[key]) > 10 for key in keys))
        await listener.wire.cut()  # so that the agent is back first, and speaks to nobody
        await server.restart()
        heard = len(listener.events)
        await eventually(lambda: len(listener.events) > heard + 1, timeout_s=20.0)
        await listener.wire.mend()
        await complete(listener, keys)
        assert listener.replayed_chunks > 0
        assert sorted(f.outcome for f in listener.finished) == ["completed"] * STREAMS


async def test_work_placed_after_a_restart_that_lost_the_work_stream_is_served(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, worker_on(server) as listener:
        await server.restart()

        async def placed() -> WorkKey | None:
            try:
                return await listener.place("late", 3)
            except BusError:
                return None

        key = await eventually(placed, timeout_s=20.0)
        assert key is not None
        await eventually(lambda: listener.is_complete(key), timeout_s=10.0)
        await eventually(lambda: [f.outcome for f in listener.finished] == ["completed"])


async def test_an_abort_over_the_server_frees_the_slot(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, worker_on(server) as listener:
        key = await listener.place("long", 10_000)
        await eventually(lambda: listener.chunks[key])
        await listener.ask(Abort([key]))
        await eventually(lambda: [(f.outcome, f.started) for f in listener.finished] == [("cancelled", True)])


async def test_the_agents_rights_suffice_to_notice_that_a_gateway_is_gone(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, worker_on(server) as listener:
        key = await listener.place("long", 10_000)
        await eventually(lambda: listener.chunks[key])
        assert listener.subscription is not None
        await listener.subscription.close()
        await eventually(lambda: [f.outcome for f in listener.finished] == ["cancelled"], timeout_s=15.0)
