"""What a pool's clients and agents see of a dispatcher in ordinary days."""

from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.dispatch import WhereAnswer
from matrixinfer.bus.contracts.frames import ChunkKind
from support.dispatch import dispatch_house
from support.scripted import MS, NS


async def test_requests_are_placed_in_the_order_in_which_they_were_stored():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        await house.post("a", "b", "c")
        order = []
        for _ in range(3):
            order += agent.waiting_rids
            await agent.start(order[-1])
            await agent.finish(order[-1])
            await house.settle()
        assert order == ["a", "b", "c"]
        assert await house.is_all_acknowledged()


async def test_work_carries_epoch_hop_boot_and_the_time_that_is_left():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a", remaining_s=30.0)
        await house.pass_time(5)
        agent = await house.agent("p1")
        work = agent.envelopes["a"]
        assert (work.hop, work.boot, work.phase, work.body) == (1, agent.boot, "whole", b"{}")
        assert work.epoch > 0
        assert 24.0 < work.remaining_s <= 25.0


async def test_the_pod_with_the_smallest_share_of_busy_slots_gets_the_request():
    async with dispatch_house() as house:
        await house.dispatcher()
        small, large = await house.agent("small", slots=2), await house.agent("large", slots=8)
        await house.post(*[f"r{i}" for i in range(5)])
        assert (len(small.waiting), len(large.waiting)) == (1, 4)


async def test_a_pod_never_holds_more_than_its_slots():
    async with dispatch_house() as house:
        await house.dispatcher()
        agents = [await house.agent("p1", slots=2), await house.agent("p2", slots=3)]
        await house.post(*[f"r{i}" for i in range(12)])
        assert [len(agent.waiting) for agent in agents] == [2, 3]
        for _ in range(40):
            for agent in agents:
                for rid in agent.waiting_rids:
                    await agent.start(rid)
                    await agent.finish(rid)
            await house.settle()
        assert sorted(key.rid for agent in agents for key in agent.started) == sorted(f"r{i}" for i in range(12))
        assert [agent.most_at_once for agent in agents] == [2, 3]


async def test_a_request_is_acknowledged_when_it_starts_and_not_before():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        assert agent.waiting_rids == ["a"]
        assert (await house.backlog()).unacknowledged == 1
        await agent.start("a")
        await house.settle()
        assert await house.is_all_acknowledged()


async def test_a_failure_before_the_first_token_ends_the_request():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        await agent.finish("a", "failed")
        await house.settle()
        assert await house.is_all_acknowledged()
        assert len(agent.pulled) == 1


async def test_a_refused_request_is_placed_again_under_the_next_hop():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        await agent.finish("a", "refused")
        await house.pass_time(1)
        assert [key.hop for key in agent.pulled] == [1, 2]


async def test_a_pool_without_pods_keeps_its_requests_until_one_comes():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a", "b")
        await house.pass_time(20)
        assert (await house.backlog()).unacknowledged == 2
        agent = await house.agent("p1")
        assert agent.waiting_rids == ["a", "b"]


async def test_a_draining_pod_gets_nothing_new():
    async with dispatch_house() as house:
        await house.dispatcher()
        retired, leaving = await house.agent("p1"), await house.agent("p2")
        await house.list_pod("p1", draining=True)
        leaving.draining = True
        await house.pass_time(1)
        await house.post("a")
        assert retired.pulled == leaving.pulled == []
        other = await house.agent("p3")
        assert other.waiting_rids == ["a"]


async def test_a_deadline_in_the_queue_ends_the_request_with_504_from_dispatch():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a", remaining_s=2.0)
        await house.post("b", remaining_s=60.0)
        await house.pass_time(3)
        assert {rid: failure.status for rid, failure in house.gateway.failures().items()} == {"a": 504}
        assert house.gateway.failures()["a"].code == "deadline_exceeded"
        chunk = house.gateway.chunks[0]
        assert (chunk.kind, chunk.number, house.gateway.frames[0].pod) == (ChunkKind.FAILED, 0, "")
        assert (await house.backlog()).unacknowledged == 1


async def test_the_time_that_a_request_lay_in_the_stream_counts_against_its_deadline():
    async with dispatch_house() as house:
        await house.post("a", remaining_s=4.0)
        await house.pass_time(3)
        await house.dispatcher()
        await house.pass_time(1)
        assert house.gateway.failures()["a"].status == 504


async def test_a_cancelled_request_leaves_the_queue():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a", "b")
        await house.gateway.cancel("a")
        agent = await house.agent("p1")
        assert agent.waiting_rids == ["b"]
        assert (await house.backlog()).unacknowledged == 1


async def test_cancelling_a_placed_request_aborts_it_at_its_pod():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        await house.post("a", "b")
        await house.gateway.cancel("a")
        await house.settle()
        assert [key.rid for key in agent.aborted] == ["a"]
        assert agent.waiting_rids == ["b"]
        assert (await house.backlog()).unacknowledged == 1


async def test_a_cancel_that_comes_before_its_request_stops_it():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.gateway.cancel("a")
        await house.post("a", "b")
        assert [key.rid for key in agent.pulled] == ["b"]


async def test_where_tells_queued_placed_settled_and_unknown():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        await house.post("a", "b", "c", "d")
        await house.gateway.cancel("b")
        where = house.gateway.where
        assert await where("a") == WhereAnswer("placed", pod="p1", boot=agent.boot, hop=1)
        assert await where("c") == WhereAnswer("queued", position=0)
        assert await where("d") == WhereAnswer("queued", position=1)
        assert (await where("b")).state == "settled"
        assert await where("never") == WhereAnswer("unknown")
        await agent.start("a")
        await house.settle()
        assert await where("a") == WhereAnswer("settled", pod="p1", boot=agent.boot, hop=1)


async def test_more_requests_than_fit_in_hand_are_all_served_and_none_counts_as_unknown():
    async with dispatch_house(max_in_hand=3, pull_window=2) as house:
        await house.dispatcher()
        await house.post(*[f"r{i}" for i in range(8)])
        assert (await house.gateway.where("r7")).state == "queued"
        agent = await house.agent("p1", slots=1, eager=True)
        await house.pass_time(1)
        assert [key.rid for key in agent.started] == [f"r{i}" for i in range(8)]
        assert await house.is_all_acknowledged()


async def test_a_message_that_is_no_request_becomes_a_dead_letter():
    async with dispatch_house() as house:
        await house.dispatcher()
        subject = house.bus.subjects.infer(NS, MS, 0, "t")
        await house.bus.queue.post(subject, b"\xc1", message_id="x:1")
        await house.settle()
        assert len(await house.dead_letters()) == 1
        assert await house.is_all_acknowledged()


async def test_the_queued_requests_of_a_gateway_that_is_gone_are_dropped():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a")
        await house.gateway.leave()
        await house.pass_time(12)
        assert await house.is_all_acknowledged()


async def test_the_queued_requests_of_a_gateway_that_answers_are_kept():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a")
        await house.pass_time(30)
        assert (await house.backlog()).unacknowledged == 1


async def test_every_placement_is_recorded_with_its_candidates():
    async with dispatch_house() as house:
        await house.dispatcher()
        busy, idle = await house.agent("busy", slots=4), await house.agent("idle", slots=4)
        await house.post("a")
        other = (busy if busy.waiting else idle).pod
        await house.post("b", prompt_tokens=7)
        await house.pass_time(1.5)
        first, second = await house.decisions()
        assert (first.rid, second.rid, second.attempt, second.hop) == ("a", "b", 1, 1)
        assert (second.tenant, second.prompt_tokens, second.policy) == ("t", 7, "default")
        best, next_best = second.candidates
        assert second.pod == best.pod != other or best.score == next_best.score
        assert best.score == 1.0 > next_best.score
        assert best.scores.keys() == {"predicted_ttft", "lora_affinity"}


async def test_the_queue_is_reported_while_something_is_in_it():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.agent("p1", slots=1)
        await house.post("a", "b", "c")
        house.reports.clear()
        await house.pass_time(1)
        assert len(house.reports) == 4
        last = house.reports[-1]
        assert (last.queued, last.placed, last.pods_ready, last.shard) == (2, 1, 1, 0)
        assert last.queued_bytes > 0
        assert last.oldest_age_s >= 0.75


async def test_an_idle_queue_is_reported_once():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.pass_time(2)
        house.reports.clear()
        await house.pass_time(5)
        assert house.reports == []


async def test_what_waits_for_a_deleted_pool_is_told_so_and_what_a_pod_has_goes_on():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        await house.post("a", "b", remaining_s=300.0)
        await house.delete_pool()
        await house.pass_time(1)
        assert (await house.gateway.where("b")).state == "queued"
        await house.pass_time(2)
        failure = house.gateway.failures()["b"]
        assert (failure.status, failure.code, failure.type) == (404, "model_not_found", "invalid_request_error")
        assert "a" not in house.gateway.failures()
        await agent.start("a")
        await house.settle()
        assert await house.is_all_acknowledged()


async def test_a_request_that_is_taken_back_after_its_pool_was_deleted_is_told_so_too():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a", remaining_s=300.0)
        await house.delete_pool()
        await house.pass_time(3)
        await house.list_pod("p1", draining=True)
        await agent.finish("a", "refused")
        await house.pass_time(1)
        assert house.gateway.failures()["a"].status == 404


async def test_a_pool_that_comes_again_soon_keeps_its_requests():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a", remaining_s=300.0)
        for _ in range(2):
            await house.delete_pool()
            await house.pass_time(1.5)
            await house.pool()
            await house.pass_time(1.5)
        agent = await house.agent("p1")
        assert agent.waiting_rids == ["a"]


async def test_a_shard_that_is_no_longer_counted_keeps_its_requests_while_its_pool_is_there():
    async with dispatch_house() as house:
        await house.pool(shards=2)
        await house.dispatcher()
        await house.post("a", shard=1, remaining_s=300.0)
        await house.pool(shards=1)
        await house.pass_time(5)
        assert house.gateway.failures() == {}


async def test_pools_are_served_apart():
    async with dispatch_house() as house:
        await house.pool("other")
        await house.dispatcher()
        mine, theirs = await house.agent("p1"), await house.agent("p2", modelserver="other")
        await house.post("a")
        await house.post("b", modelserver="other")
        assert (mine.waiting_rids, theirs.waiting_rids) == (["a"], ["b"])


async def test_an_unreadable_entry_in_serving_leaves_the_others_served():
    async with dispatch_house() as house:
        await house.bus.store("SERVING").put("pool.default.broken", encode("nonsense"))
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        assert agent.waiting_rids == ["a"]
