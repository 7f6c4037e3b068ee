"""What tenants have had is known to the next dispatcher."""

from __future__ import annotations

from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fairness_record import KEEP_EVERY_S, FairnessRecord
from support.dispatch import DispatchHouse, dispatch_house
from support.fair_queue import waiting, work_of
from support.scripted import MS, NS, ScriptedAgent

KEY = f"fairness.{NS}.{MS}.0"


def used(queue: FairQueue, tenant: str, tokens: int) -> None:
    request = waiting(tenant)
    queue.push(request)
    queue.remove(request)
    queue.charge(request, work_of(request), "p")
    queue.correct(work_of(request), tokens, 0)


def a_queue(**tokens: int) -> FairQueue:
    """Each tenant has had so much, while another one waited all the time."""
    queue = FairQueue()
    queue.push(waiting("patient"))
    for tenant, count in tokens.items():
        used(queue, tenant, count)
    return queue


async def serve(house: DispatchHouse, agent: ScriptedAgent, **tokens: int) -> str:
    """The one that is at the agent runs, and uses so many tokens (1,000 unless it is named)."""
    (rid,) = agent.waiting_rids
    await agent.start(rid)
    await agent.finish(rid, usage=Usage(tokens.get(rid, 1000), 0, 0))
    await house.settle()
    return rid


async def test_who_was_served_much_before_a_takeover_waits_after_it():
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        await house.post(*[f"other{number}" for number in range(8)], tenant="other")
        await house.post("big", tenant="greedy", prompt_tokens=500_000)
        while await serve(house, agent, big=500_000) != "big":
            pass
        assert agent.waiting_rids, "others wait still, so that being served counts"
        await house.pass_time(2 * KEEP_EVERY_S)
        await first.kill()
        await house.post("again", tenant="greedy")
        await house.post("other8", tenant="other")
        await house.dispatcher()
        await house.pass_time(3)
        order = []
        while agent.waiting_rids:
            order.append(await serve(house, agent))
        assert order[-2:] == ["other8", "again"]


async def test_the_accounts_are_written_when_they_changed_and_read_by_a_successor():
    async with dispatch_house() as house:
        queue, successor = a_queue(a=100_000, b=10), FairQueue()
        record = FairnessRecord(house.bus, PoolShard(NS, MS, 0), queue)
        store = house.bus.store("REIGNS")
        await record.tick(1, 10.0)
        entry = await store.get(KEY)
        assert entry is not None
        await record.tick(1, 10.0 + KEEP_EVERY_S / 2)
        await record.tick(1, 20.0)
        unchanged = await store.get(KEY)
        assert unchanged is not None
        assert unchanged.revision == entry.revision
        await FairnessRecord(house.bus, PoolShard(NS, MS, 0), successor).recall()
        assert successor.snapshot().idle["a"] == queue.snapshot().idle["a"]


async def test_a_predecessor_that_woke_up_writes_nothing_over_a_later_reign():
    async with dispatch_house() as house:
        shard = PoolShard(NS, MS, 0)
        await FairnessRecord(house.bus, shard, a_queue(a=7)).tick(2, 10.0)
        await FairnessRecord(house.bus, shard, a_queue(a=100_000)).tick(1, 10.0)
        successor = FairQueue()
        await FairnessRecord(house.bus, shard, successor).recall()
        assert successor.snapshot().idle.get("a", 0.0) < 100


async def test_a_record_that_cannot_be_read_is_replaced():
    async with dispatch_house() as house:
        await house.bus.store("REIGNS").put(KEY, b"\xc1")
        record = FairnessRecord(house.bus, PoolShard(NS, MS, 0), a_queue(a=100))
        await record.recall()
        await record.tick(1, 10.0)
        entry = await house.bus.store("REIGNS").get(KEY)
        assert entry is not None
        assert entry.value != b"\xc1"
