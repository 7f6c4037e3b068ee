"""Agents that fall silent, die, come back as somebody else, or lose their work."""

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.dead import DeadLetter
from support.dispatch import dispatch_house


async def test_a_silent_pod_gets_nothing_and_its_unstarted_work_goes_to_another():
    async with dispatch_house() as house:
        await house.dispatcher()
        silent = await house.agent("p1", slots=2)
        await house.post("a", "b")
        await silent.start("b")
        other = await house.agent("p2", slots=2)
        await silent.hang()
        await house.pass_time(2.5)
        assert other.pulled == []
        await house.pass_time(2.5)
        assert [(key.rid, key.hop) for key in other.pulled] == [("a", 2)]
        await house.post("c")
        assert other.waiting_rids == ["a", "c"]
        assert len(silent.pulled) == 2


async def test_a_pod_that_was_silent_for_a_while_gets_work_again():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        agent.skips_events = True
        await house.pass_time(4)
        await house.post("a")
        assert agent.pulled == []
        agent.skips_events = False
        await house.pass_time(1)
        assert agent.waiting_rids == ["a"]


async def test_a_pod_that_comes_back_under_another_boot_gets_its_unstarted_work_again():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        first_boot = agent.envelopes["a"].boot
        await agent.die()
        await agent.boot_up()
        await house.pass_time(0.5)
        assert agent.envelopes["a"].boot == agent.boot != first_boot
        assert [key.hop for key in agent.pulled if key not in agent.refused] == [1, 2]


async def test_a_late_event_of_a_former_boot_changes_nothing():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        former = agent.boot
        await agent.die()
        await agent.boot_up()
        await house.post("a")
        current, agent.boot = agent.boot, former
        agent._sequence += 100
        await agent.tell()
        agent.boot, agent._sequence = current, agent._sequence - 101
        await agent.tell()
        await house.pass_time(1)
        assert [key.hop for key in agent.pulled] == [1]


async def test_a_request_with_which_two_agents_died_is_poison():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        for _ in range(2):
            assert agent.waiting_rids == ["a"]
            assert house.gateway.failures() == {}
            await agent.die()
            await agent.boot_up()
            await house.pass_time(0.5)
        failure = house.gateway.failures()["a"]
        assert (failure.status, failure.code) == (502, "poison")
        (letter,) = [decode(data, DeadLetter) for data in await house.dead_letters()]
        assert (letter.stream, letter.message_id) == ("REQUESTS", "a:1")
        assert "poison" in letter.reason
        assert await house.is_all_acknowledged()


async def test_a_dead_agent_that_nobody_restarts_counts_as_a_death():
    async with dispatch_house() as house:
        await house.dispatcher()
        agents = [await house.agent("p1", slots=1)]
        await house.post("a")
        agents.append(await house.agent("p2", slots=1))
        for agent in agents:
            assert agent.waiting_rids == ["a"]
            await agent.die()
            await house.pass_time(5)
        assert house.gateway.failures()["a"].code == "poison"
        for agent in agents:
            await agent.boot_up()


async def test_silence_alone_never_makes_a_request_poison_but_makes_it_wait_for_a_healthy_pod():
    async with dispatch_house(steady_after_s=20.0) as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        agent.loses_work = True
        await house.post("a", remaining_s=300.0)
        for _ in range(6):
            agent.skips_events = True
            await house.pass_time(4)
            agent.skips_events = False
            await house.pass_time(1)
        assert (await house.gateway.where("a")).state == "queued"
        assert house.gateway.failures() == {}
        healthy = await house.agent("p2", slots=1)
        assert [(key.rid, key.hop) for key in healthy.pulled] == [("a", 4)]


async def test_work_that_an_agent_never_got_is_placed_again():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        agent.loses_work = True
        await house.post("a")
        agent.loses_work = False
        await house.pass_time(9)
        assert ("a", 2) in [(key.rid, key.hop) for key in agent.pulled]


async def test_a_start_missed_by_a_gap_in_the_events_is_found_by_asking():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a", "b")
        agent.skips_events = True
        await agent.start("a")
        await agent.finish("a")
        agent.skips_events = False
        await house.pass_time(1)
        assert (await house.backlog()).unacknowledged == 1
        assert (await house.gateway.where("a")).state == "settled"
        assert [key.rid for key in agent.pulled] == ["a", "b"]


async def test_a_start_by_an_older_hop_settles_a_request_that_was_placed_again():
    async with dispatch_house() as house:
        await house.dispatcher()
        slow = await house.agent("p1", slots=1)
        await house.post("a")
        slow.skips_events = True
        await house.pass_time(5)
        assert (await house.gateway.where("a")).state == "queued"
        slow.skips_events = False
        await slow.start("a")
        await house.settle()
        assert await house.is_all_acknowledged()
        assert (await house.gateway.where("a")).hop == 1


async def test_an_agent_that_finished_after_its_pod_was_taken_off_the_list_settles_its_request():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1")
        await house.post("a")
        await house.bus.store("SERVING").delete("pod.default.qwen.p1")
        await house.settle()
        await agent.start("a")
        await house.settle()
        assert await house.is_all_acknowledged()
        await house.post("b")
        assert [key.rid for key in agent.pulled] == ["a"]
