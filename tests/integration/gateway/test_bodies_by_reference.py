"""Large requests through gateway, dispatch and agents on a real server, each with its own rights, and with failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from matrixinfer.agents.engines import registry
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.worker import Worker
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.serving import Pool, PoolPod, Route, Rule, Target, pod_key, pool_key, route_key
from matrixinfer.bus.ids import new_boot_id
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.topology import BODIES, Part
from matrixinfer.gateway.main import serve
from matrixinfer.gateway.settings import GatewaySettings
from matrixinfer.handlers.dispatch.main import run
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.bus_rig import bound_stream
from support.eventually import eventually
from support.nats import RunningServer, connected, running_server

NS, MS, MODEL = "ns", "ms", "m"
LARGE, LARGEST = 100 * 1024, 4 * 1024 * 1024 - 1024
CHARACTERS_A_TOKEN = 8
"""At most, in the simulated engine: fewer tokens than that would mean that a part of the prompt is missing."""


class Agent:
    """One pod. It runs until `kill`, or to the end of the test."""

    def __init__(self, pod: str, bus: Bus) -> None:
        self.pod = pod
        self._bus = bus
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self, **engine_config: float) -> None:
        config: dict[str, float] = {
            "prefill_tokens_per_s": 0,
            "decode_step_s": 0,
            "decode_step_per_request_s": 0,
            "slots": 4,
        }
        config |= {"kv_capacity_tokens": 10_000_000, **engine_config}
        engine = registry.create("Simulated", "", MODEL, config)
        info = await engine.start()
        me = Identity(NS, self.pod, new_boot_id())
        worker = Worker(me, self._bus, engine, info, served_model=MODEL, drain_s=5.0, replay_bytes=1 << 24)
        self._running = asyncio.create_task(worker.run(self._stop))

    async def kill(self) -> None:
        """Its connection goes first: it says nothing any more."""
        await self._bus.link.close()
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._running = None

    async def leave(self) -> None:
        if self._running is not None:
            self._stop.set()
            await self._running


class Place:
    """Gateway and dispatcher on a server, and the pods that a test starts."""

    def __init__(self, server: RunningServer, bus: Bus, http: httpx.AsyncClient, stack: AsyncExitStack) -> None:
        self.bus = bus
        self._server = server
        self._http = http
        self._stack = stack

    async def ask(self, prompt_bytes: int) -> httpx.Response:
        message = {"role": "user", "content": "word " * (prompt_bytes // 5)}
        body = {"model": MODEL, "messages": [message], "max_tokens": 2}
        return await self._http.post("/v1/chat/completions", json=body)

    def asking(self, prompt_bytes: int) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.ask(prompt_bytes))

    async def agent(self, pod: str, **engine_config: float) -> Agent:
        bus = await self._stack.enter_async_context(connected(self._server.url_of(Part.AGENT)))
        agent = Agent(pod, bus)
        self._stack.push_async_callback(agent.leave)
        await self.bus.store("SERVING").put(pod_key(NS, MS, pod), encode(PoolPod(NS, MS, pod)))
        await agent.start(**engine_config)
        return agent

    async def holds(self, stream: str) -> tuple[int, int]:
        """Messages, and their bytes."""
        connection = self.bus.link
        assert isinstance(connection, Connection)
        state: dict[str, Any] = (await connection.api.call(f"STREAM.INFO.{stream}"))["state"]
        return int(state["messages"]), int(state["bytes"])

    async def until_stored(self, count: int) -> None:
        async def both() -> bool:
            return (await self.holds(BODIES))[0] == count and (await self.holds("REQUESTS"))[0] == count

        await eventually(both)

    async def until_no_body_is_left(self) -> None:
        async def empty() -> bool:
            return await self.holds(BODIES) == (0, 0)

        await eventually(empty)


@asynccontextmanager
async def dispatching(server: RunningServer) -> AsyncIterator[None]:
    async with connected(server.url_of(Part.HANDLERS)) as bus:
        stop = asyncio.Event()
        running = asyncio.create_task(run(DispatchSettings(), bus, stop))
        try:
            yield
        finally:
            stop.set()
            await running


@asynccontextmanager
async def place(server: RunningServer, *, dispatcher: bool = True) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        operator = await stack.enter_async_context(connected(server.url))
        serving = operator.store("SERVING")
        await serving.put(pool_key(NS, MS), encode(Pool(NS, MS, "Simulated")))
        await serving.put(route_key(NS, MODEL), encode(Route(NS, MODEL, MODEL, [Rule([Target(MS)])])))
        gateway_bus = await stack.enter_async_context(connected(server.url_of(Part.GATEWAY)))
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        settings = GatewaySettings(port=0, drain_s=1.0)
        gateway = asyncio.create_task(serve(settings, gateway_bus, stop, on_listening=ready.set_result))
        http = httpx.AsyncClient(base_url=await ready, timeout=40, trust_env=False)
        try:
            if dispatcher:
                await stack.enter_async_context(dispatching(server))
            yield Place(server, operator, http, stack)
        finally:
            await http.aclose()
            stop.set()
            await gateway


def assert_whole(answer: httpx.Response, prompt_bytes: int) -> None:
    """An answer to the whole of the prompt."""
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens"] > prompt_bytes / CHARACTERS_A_TOKEN


async def test_large_requests_are_answered_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server) as here:
        await here.agent("p1")
        for size in (1024, LARGE, LARGEST):
            assert_whole(await here.ask(size), size)
        assert_whole((await asyncio.gather(*(here.ask(LARGE) for _ in range(20))))[-1], LARGE)
        await here.until_no_body_is_left()


async def test_a_waiting_large_request_is_small_in_the_queue(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server) as here:
        asked = here.asking(LARGE)
        await here.until_stored(1)
        assert (await here.holds("REQUESTS"))[1] < LARGE / 50, "8 bytes for each 1,024 of the prompt, and the envelope"
        assert (await here.holds(BODIES))[1] > LARGE
        await here.agent("p1")
        assert_whole(await asked, LARGE)


async def test_a_server_killed_between_accepting_and_pulling_costs_no_request(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server) as here:
        asked = [here.asking(LARGE) for _ in range(5)]
        await here.until_stored(5)
        await server.restart()
        await eventually(here.bus.link.is_up, timeout_s=10.0)
        await here.agent("p1")
        for answer in await asyncio.gather(*asked):
            assert_whole(answer, LARGE)
        await here.until_no_body_is_left()


async def test_after_a_takeover_the_successor_places_what_its_agent_can_read(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server, dispatcher=False) as here:
        async with dispatching(server):
            asked = here.asking(LARGE)
            await here.until_stored(1)
        async with dispatching(server):
            await here.agent("p1")
            assert_whole(await asked, LARGE)
            await here.until_no_body_is_left()


async def test_work_that_moves_to_another_agent_finds_its_body_there_too(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server) as here:
        first = await here.agent("p1", prefill_tokens_per_s=1)
        asked = here.asking(LARGE)
        await here.until_stored(1)

        async def is_pulled() -> bool:
            connection = here.bus.link
            assert isinstance(connection, Connection)
            info = await connection.api.call("CONSUMER.INFO.WORK.a-ns-p1")
            return int(info["num_ack_pending"]) == 1

        await eventually(is_pulled)
        await first.kill()
        await here.agent("p2")
        assert_whole(await asked, LARGE)
        await here.until_no_body_is_left()


async def test_a_body_that_was_lost_is_told_to_the_client(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server) as here:
        asked = here.asking(LARGE)
        await here.until_stored(1)
        connection = here.bus.link
        assert isinstance(connection, Connection)
        await connection.api.call(f"STREAM.DELETE.{BODIES}")
        await here.agent("p1")
        answer = await asked
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "body_lost")
        assert "send the request again" in answer.json()["error"]["message"]
        assert_whole(await here.ask(LARGE), LARGE)


async def test_when_bodies_are_full_large_requests_are_refused_with_advice_until_one_is_done(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server) as here:
        await bound_stream(here.bus, BODIES, 2 * LARGE)
        first = here.asking(LARGE)
        await here.until_stored(1)
        refused = await here.ask(LARGE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await here.holds("REQUESTS"))[0] == 1
        await here.agent("p1")
        assert_whole(await first, LARGE)
        assert_whole(await here.ask(1024), 1024)
        await here.until_no_body_is_left()
        assert_whole(await here.ask(LARGE), LARGE)


async def test_a_client_that_leaves_takes_its_body_with_it(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, place(server) as here:
        asked = here.asking(LARGE)
        await here.until_stored(1)
        asked.cancel()
        await here.until_no_body_is_left()
