"""What tenants have had is known to the next dispatcher."""

from __future__ import annotations

import pytest

from matrixinfer.bus.background import Background
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.memory.store import MemoryStore
from matrixinfer.bus.ports import Entry
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fairness_record import KEEP_EVERY_S, KEPT_S, FairnessRecord
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


class Keeper:
    """A record with its queue, and the background in which it writes."""

    def __init__(self, house: DispatchHouse, queue: FairQueue) -> None:
        self.house = house
        self.queue = queue
        self.record = FairnessRecord(house.bus, PoolShard(NS, MS, 0), queue, Background())
        self.now = 0.0

    async def write(self, epoch: int = 1, after_s: float = KEEP_EVERY_S) -> int:
        """The revision of what is stored then; 0 when there is nothing."""
        self.now += after_s
        self.record.tick(epoch, self.now)
        await self.house.settle()
        entry = await self.house.bus.store("REIGNS").get(KEY)
        return entry.revision if entry is not None else 0


async def successor_of(house: DispatchHouse) -> FairQueue:
    keeper = Keeper(house, FairQueue())
    await keeper.record.recall()
    return keeper.queue


async def test_the_accounts_are_written_when_they_moved_and_read_by_a_successor():
    async with dispatch_house() as house:
        keeper = Keeper(house, a_queue(a=100_000, b=10))
        first = await keeper.write()
        assert first
        used(keeper.queue, "a", 100_000)
        assert await keeper.write(after_s=KEEP_EVERY_S / 2) == first, "it is not time yet"
        assert await keeper.write() > first
        successor = await successor_of(house)
        assert successor.snapshot().idle["a"] == keeper.queue.snapshot().idle["a"]


@pytest.mark.parametrize(
    ("tenant", "tokens", "is_written"),
    [("a", 0, False), ("a", 1000, False), ("a", 3000, True), ("newcomer", 10, True)],
    ids=["at rest", "a small part of the quantum", "a larger part", "another tenant"],
)
async def test_a_pool_writes_only_what_would_change_the_order(tenant, tokens, is_written):
    async with dispatch_house() as house:
        keeper = Keeper(house, a_queue(a=100_000))
        first = await keeper.write()
        if tokens:
            used(keeper.queue, tenant, tokens)
        assert (await keeper.write() > first) is is_written


async def test_a_pool_in_which_nobody_has_had_anything_writes_nothing():
    async with dispatch_house() as house:
        assert await Keeper(house, FairQueue()).write() == 0


async def test_accounts_at_rest_are_written_again_before_they_are_too_old_to_be_kept():
    async with dispatch_house() as house:
        keeper = Keeper(house, a_queue(a=100_000))
        first = await keeper.write()
        assert await keeper.write(after_s=KEPT_S / 3) == first
        assert await keeper.write(after_s=KEPT_S / 3) > first


async def test_more_tenants_than_an_entry_holds_leave_those_who_matter_most(caplog: pytest.LogCaptureFixture):
    async with dispatch_house() as house:
        queue = FairQueue()
        queue.push(waiting("patient"))
        for number in range(1000):
            used(queue, "名" * 195 + str(number), 10_000 + number)
        keeper = Keeper(house, queue)
        assert await keeper.write() == 0
        assert await keeper.write() > 0
        assert len([each for each in caplog.records if "too much for one entry" in each.message]) == 1
        used(queue, "newcomer", 90_000)
        revision = await keeper.write()
        kept = (await successor_of(house)).snapshot()
        assert kept.idle["newcomer"] > 0
        assert len(kept.idle) == 499
        assert await keeper.write() == revision, "the bound is remembered"


async def test_a_predecessor_that_woke_up_writes_nothing_over_a_later_reign():
    async with dispatch_house() as house:
        await Keeper(house, a_queue(a=7)).write(epoch=2)
        await Keeper(house, a_queue(a=100_000)).write(epoch=1)
        assert (await successor_of(house)).snapshot().idle.get("a", 0.0) < 100


async def test_a_record_that_cannot_be_read_is_replaced():
    async with dispatch_house() as house:
        await house.bus.store("REIGNS").put(KEY, b"\xc1")
        keeper = Keeper(house, a_queue(a=100))
        await keeper.record.recall()
        await keeper.write()
        entry = await house.bus.store("REIGNS").get(KEY)
        assert entry is not None
        assert entry.value != b"\xc1"


# -- a bucket that answers late, or never
class SlowReigns:
    """Once `fails_after_s` is set, whoever reads REIGNS waits so long, and hears then that nobody is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, house: DispatchHouse) -> None:
        """To be made before the dispatchers, who hold on to the store they get."""
        self.fails_after_s: float | None = None
        real = MemoryStore.get

        async def get(store: MemoryStore, key: str) -> Entry | None:
            if store._bucket.spec.name != "REIGNS" or self.fails_after_s is None:
                return await real(store, key)
            await house.clock.sleep(self.fails_after_s)
            raise Unavailable("no leader")

        monkeypatch.setattr(MemoryStore, "get", get)


async def test_while_accounts_are_being_written_nothing_else_waits(monkeypatch: pytest.MonkeyPatch):
    async with dispatch_house() as house:
        reigns = SlowReigns(monkeypatch, house)
        await house.dispatcher()
        first, second = await house.agent("p1", slots=1), await house.agent("p2", slots=1)
        reigns.fails_after_s = 5.0
        await house.post(*[f"r{number}" for number in range(8)])
        for rid in first.waiting_rids:
            await first.start(rid)
        await house.pass_time(KEEP_EVERY_S)
        await first.hang()
        await house.pass_time(8)
        assert house.reports[-1].pods_ready == 1
        await serve(house, second)
        assert second.waiting_rids


@pytest.mark.parametrize("fails_after_s", [0.0, 1e9], ids=["it refuses", "it is silent"])
async def test_a_reign_begins_though_what_was_noted_cannot_be_read(monkeypatch, caplog, fails_after_s):
    async with dispatch_house() as house:
        agent = await house.agent("p1")
        await house.post("r1")
        SlowReigns(monkeypatch, house).fails_after_s = fails_after_s
        await house.dispatcher()
        await house.pass_time(4)
        assert agent.waiting_rids == ["r1"]
        assert any("begins without what its predecessors noted" in each.message for each in caplog.records)
