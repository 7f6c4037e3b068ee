"""Gateway, dispatchers and simulated agents as processes of their own on a real nats-server, and what passes between.

`support.house` runs `matrixinfer up`, which starts again what dies; here a test is alone with what it kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import httpx

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.dispatch import WhereAnswer, WhereQuestion
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.load import LoadEvent, WorkKey
from matrixinfer.bus.contracts.serving import Pool, PoolPod, Route, Rule, Target, pod_key, pool_key, route_key
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.ports import Backlog, Consumer, Signal
from matrixinfer.bus.server.record import free_port
from matrixinfer.bus.topology import Part
from support.dispatch import claimed_epoch
from support.eventually import eventually
from support.nats import connected, running_server

NAMESPACE, MODEL = "default", "sim"
ENGINE = {"slots": 32, "decode_step_s": 0.02, "decode_step_per_request_s": 0, "max_batch_tokens": 64}


class Placed(NamedTuple):
    """A piece of work as it went to WORK, at `at` monotonic seconds."""

    at: float
    pod: str
    envelope: Envelope


class Child:
    """A process of the platform."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    def signal(self, number: signal.Signals) -> None:
        assert self.is_alive(), f"{self.name} has ended:\n{self.log.read_text()}"
        self._process.send_signal(number)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def end(self) -> None:
        """At once, also if it is frozen."""
        if self.is_alive():
            self._process.kill()
        await asyncio.to_thread(self._process.wait)


class Platform:
    """`async with Platform(folder) as platform:` serves the model `sim` at `platform.url`.

    `placed` and `started` hold what was heard of work going to agents, and of the requests that they have begun.
    """

    def __init__(
        self,
        folder: Path,
        *,
        agents: int = 2,
        dispatchers: int = 2,
        shards: int = 1,
        prefill_tokens_per_s: float = 8000.0,
    ) -> None:
        self.folder = folder
        self.shards = shards
        self.dispatchers: list[Child] = []
        self.agents: dict[str, Child] = {}
        self.placed: list[Placed] = []
        self.started: Counter[str] = Counter()
        self._begun: set[tuple[str, WorkKey]] = set()
        self._pods = [f"pod-{number}" for number in range(agents)]
        self._count = dispatchers
        self._engine = ENGINE | {"prefill_tokens_per_s": prefill_tokens_per_s}
        self._port = free_port()
        self._children: list[Child] = []
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Platform:
        try:
            self.server = await self._stack.enter_async_context(running_server(self.folder))
            self.bus: Bus = await self._stack.enter_async_context(connected(self.server.url))
            await self._listen()
            await self._describe()
            self.agents = {pod: self._start_agent(pod) for pod in self._pods}
            self.dispatchers = [self.start_dispatcher() for _ in range(self._count)]
            gateway = {"MATRIXINFER_GATEWAY_PORT": str(self._port)}
            self._start("gateway", Part.GATEWAY, ["gateway"], gateway)
            await eventually(self._is_whole, timeout_s=20)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            await child.end()
        await self._stack.aclose()

    def start_dispatcher(self) -> Child:
        return self._start(f"dispatcher-{len(self._children)}", Part.HANDLERS, ["handlers", "--only", "dispatch"], {})

    async def set_shards(self, shards: int, served_shards: int = 0) -> None:
        """As the reconciler does it: pods are spread evenly."""
        self.shards = max(shards, served_shards)
        store = self.bus.store("SERVING")
        pool = Pool(NAMESPACE, MODEL, "Simulated", shards, served_shards=served_shards)
        await store.put(pool_key(NAMESPACE, MODEL), encode(pool))
        for number, pod in enumerate(self._pods):
            value = encode(PoolPod(NAMESPACE, MODEL, pod, shard=number % shards))
            await store.put(pod_key(NAMESPACE, MODEL, pod), value)

    async def set_draining(self, draining: bool) -> None:
        """While its pods drain, the only shard gives them nothing."""
        for pod in self._pods:
            value = encode(PoolPod(NAMESPACE, MODEL, pod, draining=draining))
            await self.bus.store("SERVING").put(pod_key(NAMESPACE, MODEL, pod), value)

    async def owner(self, shard: int = 0) -> Child:
        """The dispatcher that has claimed the shard."""
        claims = await self.bus.leases.holders("pool.")
        dispatcher_id = claims[f"pool.{NAMESPACE}.{MODEL}.{shard}"]
        [child] = [child for child in self.dispatchers if f"dispatcher {dispatcher_id} holds" in child.log.read_text()]
        return child

    async def epoch(self, shard: int = 0) -> int:
        entry = await self.bus.store("LEASES").get(f"pool.{NAMESPACE}.{MODEL}.{shard}")
        return claimed_epoch(entry) if entry is not None else 0

    async def where(self, rid: str) -> str:
        """The state that dispatch tells; empty while nobody answers."""
        subject = self.bus.subjects.where(NAMESPACE, MODEL)
        try:
            answer = await self.bus.signals.request(subject, encode(WhereQuestion(rid, 1)), timeout_s=1.0)
        except BusError:
            return ""
        return decode(answer, WhereAnswer).state

    async def is_drained(self) -> bool:
        """Nothing is left in REQUESTS."""
        try:
            return all([await self._backlog(shard) == Backlog(0, 0) for shard in range(self.shards)])
        except BusError:
            return False

    async def _backlog(self, shard: int) -> Backlog:
        name = f"d-{NAMESPACE}-{MODEL}-{shard}-{await self.epoch(shard)}"
        subject = self.bus.subjects.infer_filter(NAMESPACE, MODEL, shard)
        return await self.bus.queue.backlog(Consumer("REQUESTS", name, subject, 3600.0, 40_000))

    # -- how it starts
    async def _describe(self) -> None:
        await self.set_shards(self.shards)
        route = Route(NAMESPACE, MODEL, MODEL, [Rule([Target(MODEL)])])
        await self.bus.store("SERVING").put(route_key(NAMESPACE, MODEL), encode(route))

    async def _listen(self) -> None:
        subjects = self.bus.subjects
        await self.bus.signals.subscribe(f"{subjects.prefix}.work.{NAMESPACE}.*", self._on_work)
        await self.bus.signals.subscribe(subjects.load_filter(), self._on_load)

    async def _on_work(self, signal: Signal) -> None:
        pod = self.bus.subjects.parse_work(signal.subject).pod
        self.placed.append(Placed(time.monotonic(), pod, decode(signal.data, Envelope)))

    async def _on_load(self, signal: Signal) -> None:
        event = decode(signal.data, LoadEvent)
        ended = [end.key for end in event.finished if end.started]  # of an unstreamed answer that is the first word
        for work in {(event.boot, key) for key in [*event.started, *ended]} - self._begun:
            self._begun.add(work)
            self.started[work[1].rid] += 1

    def _start_agent(self, pod: str) -> Child:
        environment = {
            "MATRIXINFER_AGENT_NAMESPACE": NAMESPACE,
            "MATRIXINFER_AGENT_POD": pod,
            "MATRIXINFER_AGENT_ENGINE": "Simulated",
            "MATRIXINFER_AGENT_SERVED_MODEL": MODEL,
            "MATRIXINFER_AGENT_ENGINE_CONFIG": json.dumps(self._engine),
        }
        return self._start(pod, Part.AGENT, ["agent"], environment)

    def _start(self, name: str, part: Part, words: list[str], environment: dict[str, str]) -> Child:
        command = [sys.executable, "-m", "matrixinfer", *words]
        environment = os.environ | environment | {"MATRIXINFER_BUS_URL": self.server.url_of(part)}
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            child = Child(name, subprocess.Popen(command, env=environment, stdout=output, stderr=output), log)
        self._children.append(child)
        return child

    async def _is_whole(self) -> bool:
        """Every dispatcher has its lease, every pod was heard, and the gateway answers."""
        for child in self._children:
            assert child.is_alive(), f"{child.name} has ended:\n{child.log.read_text()}"
        if len(await self.bus.leases.holders("dispatcher.")) < len(self.dispatchers):
            return False
        return await self._answers() and await self._are_claimed()

    async def _are_claimed(self) -> bool:
        return all([await self.epoch(shard) > 0 for shard in range(self.shards)])

    async def _answers(self) -> bool:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        try:
            async with httpx.AsyncClient(timeout=5) as client:
                answer = await client.post(f"{self.url}/v1/chat/completions", json=body)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200
