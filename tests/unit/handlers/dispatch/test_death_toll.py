"""The deaths that a request has met are known to the next dispatcher, and to nobody too long."""

from typing import Any

import pytest

from matrixinfer.bus.background import Background
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.memory.store import MemoryStore
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.death_toll import DeathToll
from matrixinfer.handlers.dispatch.recently import Recently
from matrixinfer.handlers.dispatch.request import RequestKey
from support.dispatch import DispatchHouse, dispatch_house
from support.scripted import MS, NS, ScriptedAgent

TOLL = f"deaths.{NS}.{MS}.0"


async def die_with(house: DispatchHouse, agents: list[ScriptedAgent], rid: str) -> None:
    """The agent that has `rid` dies, and comes back with nothing."""
    [agent] = [agent for agent in agents if rid in agent.waiting_rids]
    await agent.die()
    await agent.boot_up()
    await house.pass_time(0.5)


async def two_agents(house: DispatchHouse) -> list[ScriptedAgent]:
    return [await house.agent("p1", slots=4), await house.agent("p2", slots=4)]


async def test_poison_is_stopped_after_two_deaths_though_a_takeover_came_between():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agents = await two_agents(house)
        await house.post("bad")
        await die_with(house, agents, "bad")
        await first.kill()
        await house.dispatcher()
        await house.pass_time(2)
        await die_with(house, agents, "bad")
        failure = house.gateway.failures()["bad"]
        assert (failure.status, failure.code) == (502, "poison")
        assert len(await house.dead_letters()) == 1
        assert await house.is_all_acknowledged()


async def test_a_request_that_started_is_not_remembered_as_one_that_kills():
    async with dispatch_house() as house:
        await house.dispatcher()
        agents = await two_agents(house)
        await house.post("good", "bad")
        for rid in ("good", "bad"):
            await die_with(house, agents, rid)
        for agent in agents:
            if "good" in agent.waiting_rids:
                await agent.start("good")
        await house.post("worse")
        await die_with(house, agents, "worse")
        entry = await house.bus.store("REIGNS").get(TOLL)
        assert entry is not None
        assert b"worse" in entry.value
        assert b"good" not in entry.value


async def test_the_toll_goes_when_the_deadlines_of_its_requests_have_passed():
    async with dispatch_house() as house:
        await house.dispatcher()
        agents = await two_agents(house)
        await house.post("bad", remaining_s=5.0)
        await die_with(house, agents, "bad")
        assert await house.bus.store("REIGNS").get(TOLL) is not None
        await house.pass_time(16)
        assert await house.bus.store("REIGNS").get(TOLL) is None


async def test_a_toll_that_cannot_be_read_stops_no_takeover():
    async with dispatch_house() as house:
        await house.bus.store("REIGNS").put(TOLL, b"rubbish")
        await house.dispatcher()
        agents = await two_agents(house)
        await house.post("bad")
        for _ in range(2):
            await die_with(house, agents, "bad")
        assert house.gateway.failures()["bad"].code == "poison"


async def test_a_toll_that_cannot_be_written_stops_no_placing(monkeypatch: pytest.MonkeyPatch):
    async with dispatch_house() as house:
        real = MemoryStore.put

        async def put(self: MemoryStore, key: str, value: bytes, **more: Any) -> int:
            if key == TOLL:
                raise Unavailable("the server is slow")
            return await real(self, key, value, **more)

        monkeypatch.setattr(MemoryStore, "put", put)
        await house.dispatcher()
        agents = await two_agents(house)
        await house.post("bad")
        await die_with(house, agents, "bad")
        assert [rid for agent in agents for rid in agent.waiting_rids] == ["bad"]


async def test_while_a_toll_is_being_written_nothing_waits_and_the_next_is_written_after_it(
    monkeypatch: pytest.MonkeyPatch,
):
    async with dispatch_house() as house:
        real = MemoryStore.put

        async def put(self: MemoryStore, key: str, value: bytes, **more: Any) -> int:
            await house.clock.sleep(5.0 if key == TOLL else 0.0)
            return await real(self, key, value, **more)

        monkeypatch.setattr(MemoryStore, "put", put)
        await house.dispatcher()
        agents = await two_agents(house)
        await house.post("bad", "good")
        await die_with(house, agents, "bad")
        assert sorted(rid for agent in agents for rid in agent.waiting_rids) == ["bad", "good"]
        (lucky,) = [agent for agent in agents if "good" in agent.waiting_rids]
        await lucky.start("good")
        await house.settle()
        assert (await house.gateway.where("good")).state == "settled", "agents are heard meanwhile"
        await house.post("worse")
        await die_with(house, agents, "worse")
        await house.pass_time(12)
        entry = await house.bus.store("REIGNS").get(TOLL)
        assert entry is not None
        assert b"worse" in entry.value


async def test_an_older_reign_does_not_write_over_the_toll_of_a_later_one():
    async with dispatch_house() as house:
        toll, deaths = DeathToll(house.bus, PoolShard(NS, MS, 0), Background()), Recently[RequestKey, int](limit=10)
        deaths.remember(("bad", 1), 1, until=100.0)
        await toll.keep(deaths, 7, now=0.0)
        later = await house.bus.store("REIGNS").get(TOLL)
        await toll.keep(deaths, 6, now=1.0)
        assert await house.bus.store("REIGNS").get(TOLL) == later
