"""Cache events on a real server: the index of a real dispatcher comes to what real agents' engines hold, whatever
happens to agents and server. Prompts are chats, and their blocks are named by the gateway's own code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.serving import Pool, PoolPod, pod_key, pool_key
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.topology import Part
from matrixinfer.gateway.pipeline import body
from matrixinfer.gateway.pipeline.prompt import measure
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.main import run
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.eventually import eventually
from support.nats import RunningServer, connected, running_server
from support.scripted import MS, NS, ScriptedGateway
from support.told_caches import TellingAgent, agrees, spied_caches

PODS = ("p1", "p2")


class Chat:
    """A conversation: its first message is everybody's, the second its own."""

    def __init__(self, name: str) -> None:
        messages = [{"role": "system", "content": "s" * 2500}, {"role": "user", "content": name * 3000}]
        self.body = json.dumps({"model": MS, "messages": messages, "max_tokens": 1}).encode()
        self.tokens, self.hashes, _ = measure(body.read(self.body, "chat.completions"), "")


CHATS = [Chat(name) for name in "abcdefghijklmnop"]


class World:
    def __init__(self, server: RunningServer, clients: Bus, agents: list[TellingAgent], made: list[ToldCaches]) -> None:
        self.server = server
        self.agents = agents
        self._gateway = ScriptedGateway(clients)
        self._made = made
        self._asked = 0

    async def open(self) -> None:
        await self._gateway.open()

    async def chat(self, *chats: Chat) -> None:
        """One after the other, each until it is answered."""
        for chat in chats:
            self._asked += 1
            rid = f"r{self._asked}"
            fields = {"body": chat.body, "block_hashes": chat.hashes, "prompt_tokens": chat.tokens}
            await eventually(lambda rid=rid, fields=fields: self._post(rid, fields), timeout_s=20)
            await eventually(lambda rid=rid: any(chunk.rid == rid for chunk in self._gateway.chunks), timeout_s=20)

    async def _post(self, rid: str, fields: dict[str, object]) -> bool:
        try:
            await self._gateway.post(rid, **fields)
        except BusError:
            return False
        return True

    async def agreed(self) -> ToldCaches:
        hashes = [chat.hashes for chat in CHATS]
        await eventually(lambda: bool(self._made) and agrees(self._made[-1], self.agents, hashes), timeout_s=20)
        return self._made[-1]


@pytest.fixture
async def world(tmp_path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = spied_caches(monkeypatch)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(tmp_path))
        clients = await stack.enter_async_context(connected(server.url))
        handlers = await stack.enter_async_context(connected(server.url_of(Part.HANDLERS)))
        await clients.store("SERVING").put(pool_key(NS, MS), encode(Pool(NS, MS, "Simulated")))
        agents = []
        for pod in PODS:
            agents.append(TellingAgent(lambda: stack.enter_async_context(connected(server.url_of(Part.AGENT))), pod))
            await clients.store("SERVING").put(pod_key(NS, MS, pod), encode(PoolPod(NS, MS, pod)))
            await agents[-1].boot_up()
        stop = asyncio.Event()
        dispatching = asyncio.create_task(run(DispatchSettings(), handlers, stop))
        world = World(server, clients, agents, made)
        await world.open()
        yield world
        stop.set()
        await dispatching
        for agent in agents:
            await agent.die()


async def test_the_index_is_what_the_caches_hold_and_a_chat_goes_where_it_is_cached(world: World) -> None:
    await world.chat(*CHATS)
    caches = await world.agreed()
    chat = CHATS[-1]
    [holder] = [agent for agent in world.agents if agent.tokens_of(chat.hashes) > 512]
    held = len(holder.cached())
    await world.chat(chat)
    assert caches.cached_tokens(holder.pod, chat.hashes) == holder.tokens_of(chat.hashes) >= 1024
    assert len(holder.cached()) == held, "nothing was computed twice"


async def test_an_agent_that_is_killed_begins_with_nothing(world: World) -> None:
    await world.chat(*CHATS[:6])
    await world.agreed()
    victim = max(world.agents, key=lambda agent: len(agent.cached()))
    await victim.die()
    await victim.boot_up()
    caches = await world.agreed()
    assert caches.cached_tokens(victim.pod, CHATS[0].hashes) == 0
    await world.chat(*CHATS[6:10])
    await world.agreed()


async def test_what_was_lost_while_the_server_was_away_is_made_up_for(world: World) -> None:
    await world.chat(*CHATS[:6])
    await world.agreed()
    await world.server.restart()
    await world.chat(*CHATS[6:12])
    await world.agreed()
