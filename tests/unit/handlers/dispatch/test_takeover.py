"""Several dispatchers, and what becomes of requests when one dies, freezes, loses its link or hands over."""

from collections import Counter

import pytest

from matrixinfer.bus.contracts.load import WorkKey
from support.dispatch import DispatchHouse, RunningDispatcher, claimed_epoch, dispatch_house
from support.scripted import MS, ScriptedAgent


def runs(agents: list[ScriptedAgent]) -> Counter[str]:
    """How often each request was taken up by an agent."""
    return Counter(key.rid for agent in agents for key in agent.pulled if key not in agent.refused)


async def work_off(house: DispatchHouse, agents: list[ScriptedAgent], rounds: int = 20) -> None:
    for _ in range(rounds):
        for agent in agents:
            for rid in agent.waiting_rids:
                await agent.start(rid)
                await agent.finish(rid)
        await house.pass_time(0.25)


async def test_after_a_dispatcher_is_killed_the_next_loses_nothing_and_runs_nothing_twice():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agents = [await house.agent("p1", slots=2), await house.agent("p2", slots=2)]
        await house.post(*[f"r{i}" for i in range(10)])
        for agent in agents:
            await agent.start(agent.waiting_rids[0])
        await house.settle()
        await house.dispatcher()
        await first.kill()
        for agent in agents:  # while nobody dispatches, one ends and one starts
            await agent.finish(next(iter(agent.running)).rid)
            await agent.start(agent.waiting_rids[0])
        await house.pass_time(5)
        await work_off(house, agents)
        assert runs(agents) == Counter({f"r{i}": 1 for i in range(10)})
        assert await house.is_all_acknowledged()


async def test_a_takeover_takes_less_than_three_seconds():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agent = await house.agent("p1")
        await house.dispatcher()
        await first.kill()
        await house.post("a")
        await house.pass_time(2.75)
        assert agent.waiting_rids == ["a"]


async def test_waiting_work_of_a_predecessor_is_adopted_with_its_hop():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        await first.kill()
        await house.dispatcher()
        await house.pass_time(3)
        answer = await house.gateway.where("a")
        assert (answer.state, answer.pod, answer.boot, answer.hop) == ("placed", "p1", agent.boot, 1)
        await agent.start("a")
        await house.settle()
        assert await house.is_all_acknowledged()
        assert len(agent.pulled) == 1


async def test_work_that_lay_in_the_stream_at_a_takeover_is_refused_and_runs_under_the_new_epoch_once():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agent = await house.agent("p1", slots=4, is_slow_to_pull=True)
        await house.post("a")
        await first.kill()
        await house.dispatcher()
        await house.pass_time(1)
        agent.pull()
        await house.pass_time(1)
        assert [key.hop for key in agent.refused] == [1]
        assert runs([agent]) == Counter({"a": 1})
        assert agent.envelopes["a"].epoch == agent.epochs[MS, 0]


async def test_a_planned_stop_hands_over_at_once():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        await house.dispatcher()
        first.stop.set()
        await house.pass_time(0.5)
        assert first.task.done()
        await house.post("b")
        assert agent.waiting_rids == ["a", "b"]
        assert [key.rid for key in agent.pulled] == ["a", "b"]


@pytest.mark.parametrize("wakes_after_s", [0.0, 9.0])
async def test_a_frozen_dispatcher_that_wakes_up_changes_nothing(wakes_after_s):
    async with dispatch_house() as house:
        frozen = await house.dispatcher()
        agents = [await house.agent("p1", slots=1)]
        await house.post("a", "b", "c", "d", remaining_s=8.0)
        frozen.freeze()
        await agents[0].start("a")
        await house.gateway.cancel("b")
        await agents[0].finish("a")  # it would place here, acknowledge a, and drop b
        await house.dispatcher()
        await house.pass_time(3)
        await work_off(house, agents, rounds=5)
        settled = [len(agent.pulled) for agent in agents]
        await house.pass_time(wakes_after_s)  # and it would say that d is too late
        frozen.thaw()
        await house.pass_time(1)
        assert runs(agents) == Counter({"a": 1, "b": 1, "c": 1, "d": 1})
        assert [len(agent.pulled) for agent in agents] == settled
        assert [agent.refused for agent in agents] == [[]]
        assert house.gateway.failures() == {}
        assert await house.is_all_acknowledged()


async def test_a_woken_dispatcher_that_wins_a_lease_again_does_not_go_on_with_its_former_reign():
    async with dispatch_house() as house:
        frozen = await house.dispatcher()
        agents = [await house.agent("p1"), await house.agent("p2")]
        await house.post("a")
        frozen.freeze()
        await house.dispatcher()
        await house.pass_time(3)
        [victim] = [agent for agent in agents if agent.waiting_rids]
        await victim.die()
        await victim.boot_up()
        await house.pass_time(0.5)
        frozen.thaw()  # it hears of the death, after its lease ran out and while it gets another
        await house.pass_time(1)
        hops = {key.hop for agent in agents for key in agent.pulled}
        assert hops - {1} == {max(hops)}, "only the successor placed it anew, above all hops of its predecessor"
        assert max(hops) > 2


async def test_a_frozen_dispatcher_takes_part_again_after_it_woke_up():
    async with dispatch_house() as house:
        frozen = await house.dispatcher()
        agent = await house.agent("p1", slots=2)
        frozen.freeze()
        await house.pass_time(4)
        await house.post("a")
        assert agent.pulled == []
        frozen.thaw()
        await house.pass_time(3)
        assert agent.waiting_rids == ["a"]
        assert agent.refused == []


@pytest.mark.parametrize("broken_s", [0.0, 1.0, 5.0])
async def test_after_a_restored_link_everything_is_compared_and_nothing_runs_twice(broken_s):
    async with dispatch_house() as house:
        dispatcher = await house.dispatcher()
        agents = [await house.agent("p1", slots=2), await house.agent("p2", slots=2)]
        await house.post(*[f"r{i}" for i in range(8)])
        house.broker.drop_connection(dispatcher.bus)
        await agents[0].start(agents[0].waiting_rids[0])
        await house.pass_time(broken_s)
        await house.post("r8")
        house.broker.restore_connection(dispatcher.bus)
        await house.pass_time(4)
        await work_off(house, agents)
        assert runs(agents) == Counter({f"r{i}": 1 for i in range(9)})
        assert await house.is_all_acknowledged()


async def test_work_lost_by_a_restart_of_the_server_is_posted_again():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=2)
        house.broker.drop_connection(agent.bus)
        await house.post("a", "b")
        assert agent.pulled == []
        house.broker.restart(lose_memory_streams=True)
        await house.pass_time(0.5)
        house.broker.restore_connection(agent.bus)
        await house.pass_time(2)
        assert agent.waiting_rids == ["a", "b"]
        assert len(agent.pulled) == 2
        await work_off(house, [agent])
        assert await house.is_all_acknowledged()


async def test_two_dispatchers_share_the_pools_and_each_is_served_once():
    async with dispatch_house() as house:
        names = [f"m{i}" for i in range(8)]
        for name in names:
            await house.pool(name)
        one, two = await house.dispatcher(), await house.dispatcher()
        agents = {name: await house.agent(f"pod-{name}", modelserver=name) for name in names}
        for name in names:
            await house.post(f"r-{name}", modelserver=name)
        assert {name: agent.waiting_rids for name, agent in agents.items()} == {name: [f"r-{name}"] for name in names}
        holders = await house.bus.leases.holders("pool.")
        owners = {holders[f"pool.default.{name}.0"] for name in names}
        assert len(owners) == 2
        assert not one.task.done()
        assert not two.task.done()


async def test_shards_of_a_pool_are_served_apart_and_where_is_answered_for_all():
    async with dispatch_house() as house:
        await house.pool(shards=4)
        await house.dispatcher()
        await house.dispatcher()
        for shard in range(4):
            await house.post(f"r{shard}", shard=shard)
        for shard in range(4):
            assert (await house.gateway.where(f"r{shard}")).state == "queued"
        agent = await house.agent("p1", slots=8)
        await house.pass_time(1)
        assert sorted(agent.waiting_rids) == ["r0", "r1", "r2", "r3"]


async def test_nobody_says_unknown_while_stored_requests_may_still_come():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        await house.post("a")
        await first.kill()
        await house.dispatcher()
        states: set[str] = set()
        for _ in range(16):
            try:
                states.add((await house.gateway.where("a")).state)
            except Exception as error:  # noqa: BLE001  nobody there yet
                states.add(type(error).__name__)
            await house.pass_time(0.25)
        assert "queued" in states
        assert "unknown" not in states


async def test_an_agent_forgotten_for_a_second_does_not_stop_a_takeover():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        hung, agent = await house.agent("p1", slots=1), await house.agent("p2", slots=1)
        await house.post("a")
        await hung.hang()
        await first.kill()
        await house.dispatcher()
        await house.pass_time(8)
        await house.post("b")
        await work_off(house, [agent])
        assert {"a", "b"} <= {key.rid for key in [*agent.started, WorkKey("a", 1, 1)]}
        assert (await house.gateway.where("b")).state == "settled"


async def test_a_dispatcher_stops_serving_what_another_claimed_and_comes_back_when_that_one_is_gone():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.bus.leases.claim("pool.default.qwen.0", "somebody-else")
        await house.settle()
        await house.post("a")
        assert agent.pulled == []
        await house.pass_time(1.5)
        assert agent.pulled == []
        await house.pass_time(1.5)
        assert agent.waiting_rids == ["a"]
        assert await house.bus.leases.holders("pool.") != {"pool.default.qwen.0": "somebody-else"}


async def test_the_consumer_of_a_reign_tells_its_epoch_so_that_a_late_one_cannot_end_its_successor(monkeypatch):
    async with dispatch_house() as house:
        dispatcher = RunningDispatcher(house.broker.connect(), house.settings)
        house.dispatchers.append(dispatcher)
        consume, asked = dispatcher.bus.queue.consume, []

        async def record(consumer, handler, *, credits):
            asked.append(consumer.epoch)
            return await consume(consumer, handler, credits=credits)

        monkeypatch.setattr(dispatcher.bus.queue, "consume", record)
        await house.pass_time(1.5)
        claims = await house.bus.store("LEASES").entries("pool")
        assert asked == [claimed_epoch(claims["pool.default.qwen.0"])]
