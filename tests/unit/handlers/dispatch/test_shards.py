"""Several shards of one pool: each fills its own pods only, and changing their number loses nothing."""

from collections import Counter

from support.dispatch import DispatchHouse, dispatch_house
from support.scripted import MS, ScriptedAgent


async def house_of_two(house: DispatchHouse) -> tuple[ScriptedAgent, ScriptedAgent]:
    """Two dispatchers, and two shards with one pod each."""
    await house.pool(shards=2)
    await house.dispatcher()
    await house.dispatcher()
    return await house.agent("p0", slots=2, shard=0), await house.agent("p1", slots=2, shard=1)


async def test_each_shard_fills_its_own_pods_only():
    async with dispatch_house() as house:
        zero, one = await house_of_two(house)
        await house.post(*[f"r{i}" for i in range(5)], shard=0)
        await house.pass_time(1)
        assert zero.waiting_rids == ["r0", "r1"]
        assert one.pulled == []


async def test_a_shard_without_a_pod_of_its_own_uses_those_of_the_pool():
    async with dispatch_house() as house:
        zero, one = await house_of_two(house)
        await house.pool(shards=3)
        await house.post("a", shard=2)
        await house.pass_time(1)
        assert zero.waiting_rids + one.waiting_rids == ["a"]


async def test_a_shard_whose_pods_all_leave_uses_the_others():
    async with dispatch_house() as house:
        zero, one = await house_of_two(house)
        await house.list_pod("p1", draining=True, shard=1)
        await house.post("a", shard=1)
        await house.pass_time(1)
        assert (zero.waiting_rids, one.waiting_rids) == (["a"], [])


async def test_a_pod_that_moves_gets_work_of_its_new_shard_and_ends_that_of_its_old_one():
    async with dispatch_house() as house:
        zero, agent = await house_of_two(house)
        await house.post("old", shard=1)
        await house.agent("p2", shard=1)
        await house.list_pod("p1", shard=0)
        await house.post("new-1", "new-2", "new-3", "new-4", shard=0)
        await house.pass_time(1)
        assert (len(zero.pulled), len(agent.pulled)) == (2, 2), "its report tells the new shard of the old one's work"
        for rid in agent.waiting_rids:
            await agent.start(rid)
        await house.settle()
        assert (await house.backlog(shard=1)).unacknowledged == 0
        assert (await house.backlog(shard=0)).unacknowledged == 3


async def test_a_takeover_finds_the_work_at_a_pod_that_has_moved_to_another_shard():
    async with dispatch_house() as house:
        await house.pool(shards=2)
        first = await house.dispatcher()
        moving = await house.agent("p1", shard=1)
        other = await house.agent("p2", shard=1)
        await house.post("a", "b", shard=1)
        await house.list_pod("p1", shard=0)
        await first.kill()
        await house.dispatcher()
        await house.pass_time(3)
        assert sorted(moving.waiting_rids + other.waiting_rids) == ["a", "b"]
        assert len(moving.pulled + other.pulled) == 2, "nothing ran twice"
        for agent in (moving, other):
            for rid in agent.waiting_rids:
                await agent.start(rid)
        await house.settle()
        assert (await house.backlog(shard=1)).unacknowledged == 0


async def test_what_waits_in_a_retired_shard_is_served_also_after_a_takeover():
    async with dispatch_house() as house:
        await house.pool(shards=2)
        first = await house.dispatcher()
        await house.post("early", shard=1)
        await house.pool(shards=1, served_shards=2)
        await first.kill()
        await house.post("late", shard=1)
        await house.dispatcher()
        agent = await house.agent("p0", slots=4)
        await house.pass_time(3)
        assert agent.waiting_rids == ["early", "late"]
        assert (await house.gateway.where("late")).state == "placed"


async def test_shards_that_come_and_go_under_load_lose_nothing_and_run_nothing_twice():
    async with dispatch_house() as house:
        zero, one = await house_of_two(house)
        for round_, (shards, served) in enumerate([(2, 2), (1, 2), (3, 3), (1, 3), (2, 3)]):
            await house.pool(shards=shards, served_shards=served)
            await house.post(*[f"r{round_}-{i}" for i in range(4)], shard=round_ % 2)
            for agent in (zero, one):
                for rid in agent.waiting_rids:
                    await agent.start(rid)
                    await agent.finish(rid)
            await house.settle()
        for _ in range(10):
            for agent in (zero, one):
                for rid in agent.waiting_rids:
                    await agent.start(rid)
                    await agent.finish(rid)
            await house.pass_time(0.25)
        ran = Counter(key.rid for agent in (zero, one) for key in agent.started)
        assert ran == Counter(f"r{round_}-{i}" for round_ in range(5) for i in range(4))
        for shard in range(2):
            backlog = await house.backlog(MS, shard)
            assert (backlog.waiting, backlog.unacknowledged) == (0, 0)
