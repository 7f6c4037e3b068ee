"""What dispatch records of every request: where it went, what came of it, and why it went nowhere."""

from __future__ import annotations

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.decision import DecisionBatch
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.handlers.dispatch.arrivals import session_digest
from matrixinfer.handlers.dispatch.hindsight.story import Story, story_of
from support.dispatch import DispatchHouse, dispatch_house
from support.scripted import MS, NS


async def records(house: DispatchHouse) -> list[DecisionBatch]:
    """All of them; to be asked once."""
    await house.pass_time(1.5)
    return [
        decode(batch, DecisionBatch) for batch in await house.read("DECISIONS", house.bus.subjects.decision(NS, MS))
    ]


async def story(house: DispatchHouse, rid: str) -> Story:
    return story_of(rid, await records(house))


async def test_a_placement_is_followed_by_its_first_token_and_its_end():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a", prompt_tokens=900, session="mine", block_hashes=b"12345678abcdefgh")
        await house.pass_time(2)
        await agent.start("a")
        await agent.finish("a")
        (step,) = (await story(house, "a")).steps
        decision = step.decision
        assert (decision.prompt_tokens, decision.session, decision.first_block) == (
            900,
            session_digest("mine"),
            b"12345678",
        )
        assert decision.inputs is not None
        assert (decision.inputs.everyone, decision.inputs.used, step.sights[0].pod) == (1, [0], "p1")
        assert step.first_token is not None
        assert step.first_token.ttft_s >= 2.0
        assert step.finished is not None
        assert (step.finished.outcome, step.finished.usage) == ("completed", Usage())


async def test_a_request_that_expires_in_the_queue_has_a_record_of_how_long_it_waited():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("late", remaining_s=3.0)
        await house.pass_time(4)
        (rejection,) = (await story(house, "late")).rejections
        assert rejection.status == 504
        assert 3.0 <= rejection.waited_s < 4.0


async def test_a_client_that_leaves_while_its_request_waits_is_recorded():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("left")
        await house.pass_time(1)
        await house.gateway.cancel("left")
        (rejection,) = (await story(house, "left")).rejections
        assert (rejection.status, rejection.tenant, rejection.hop) == (499, "t", 0)


async def test_a_request_that_is_placed_again_has_a_record_for_every_hop():
    async with dispatch_house() as house:
        await house.dispatcher()
        first = await house.agent("p1")
        await house.post("a")
        await first.die()
        await house.agent("p2")
        await house.pass_time(6)
        steps = (await story(house, "a")).steps
        assert [(step.decision.pod, step.decision.hop) for step in steps] == [("p1", 1), ("p2", 2)]


async def test_many_decisions_share_what_they_saw_of_a_pod():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.agent("p1", slots=50)
        await house.post(*[f"r{number}" for number in range(20)])
        found = await story(house, "r0")
        assert len(found.steps[0].sights) < 5


async def test_the_counters_of_the_fair_queue_are_in_the_record_as_they_were_before_the_charge():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.post("a", tenant="one", prompt_tokens=1000)
        await house.post("b", tenant="two", prompt_tokens=1000)
        await house.agent("p1", slots=2)
        batches = await records(house)
        first, second = [story_of(rid, batches).steps[0].decision for rid in "ab"]
        assert first.fairness is not None
        assert (first.fairness.counter, first.fairness.least, first.fairness.tenants) == (0.0, 0.0, 2)
        assert second.fairness is not None
        assert (second.fairness.counter, second.fairness.tenants) == (0.0, 1)
        assert (first.waiting, second.waiting) == (1, 0)
