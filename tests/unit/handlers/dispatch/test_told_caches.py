"""Dispatch follows the caches of real agents: whatever is lost or dies, the index comes to what the engines hold."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.dispatch import CacheSuspicion, CacheSuspicions, suspicions_key
from matrixinfer.cli.dispatch_checks import dispatch_findings
from matrixinfer.cli.findings import Finding
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from support.dispatch import DispatchHouse, dispatch_house
from support.scripted import MS, NS
from support.told_caches import FITTING_BLOCKS, Prompt, TellingAgent, agrees, spied_caches

SYSTEM = Prompt("s", blocks=2)
PROMPTS = [SYSTEM, *[Prompt(name, after=SYSTEM) for name in "abcdefghijklmnopqr"]]
HASHES = [prompt.hashes for prompt in PROMPTS]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[ToldCaches]:
    return spied_caches(monkeypatch)


async def agent_in(house: DispatchHouse, pod: str) -> TellingAgent:
    async def connect() -> Bus:
        return house.broker.connect()

    agent = TellingAgent(connect, pod)
    await house.list_pod(pod)
    await agent.boot_up()
    house.agents.append(agent)  # type: ignore[arg-type]  # the house only ends it
    await house.pass_time(2.0)
    return agent


async def ask(house: DispatchHouse, prompts: list[Prompt], round_name: str = "r") -> None:
    for number, prompt in enumerate(prompts):
        await house.gateway.post(f"{round_name}{number}", **prompt.envelope_fields())
        await house.pass_time(0.25)


async def test_the_index_comes_to_what_the_engines_hold_though_they_evict(made: list[ToldCaches]) -> None:
    async with dispatch_house() as house:
        await house.dispatcher()
        agents = [await agent_in(house, pod) for pod in ("p1", "p2")]
        await ask(house, PROMPTS)
        await house.pass_time(0.5)
        assert agrees(made[-1], agents, HASHES)
        held = [len(agent.cached()) for agent in agents]
        assert max(held) in range(FITTING_BLOCKS - 6, FITTING_BLOCKS + 1), "some were evicted"
        assert await house.is_all_acknowledged()


async def test_a_prompt_goes_where_it_is_cached(made: list[ToldCaches]) -> None:
    async with dispatch_house() as house:
        await house.dispatcher()
        agents = {pod: await agent_in(house, pod) for pod in ("p1", "p2", "p3")}
        await ask(house, PROMPTS[1:2])
        await house.pass_time(5.0)
        [holder] = [pod for pod, agent in agents.items() if agent.tokens_of(PROMPTS[1].hashes)]
        await ask(house, PROMPTS[1:2] * 5, "again")
        await house.pass_time(1.5)
        decisions = await house.decisions()
        assert [decision.pod for decision in decisions] == [holder] * 6


async def test_events_that_were_lost_are_made_up_for_by_a_dump(made: list[ToldCaches]) -> None:
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await agent_in(house, "p1")
        await ask(house, PROMPTS[:3])
        agent.loses_events = True
        await ask(house, PROMPTS[3:6], "unheard")
        assert not agrees(made[-1], [agent], HASHES)
        agent.loses_events = False
        await house.pass_time(2.0)
        assert agrees(made[-1], [agent], HASHES)


async def test_an_agent_that_starts_again_has_an_empty_cache(made: list[ToldCaches]) -> None:
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await agent_in(house, "p1")
        await ask(house, PROMPTS[:3])
        await house.pass_time(0.5)
        assert made[-1].cached_tokens("p1", PROMPTS[2].hashes) > 0
        await agent.die()
        await agent.boot_up()
        await house.pass_time(2.0)
        assert made[-1].cached_tokens("p1", PROMPTS[2].hashes) == 0
        await ask(house, PROMPTS[4:6], "new")
        await house.pass_time(1.0)
        assert agrees(made[-1], [agent], HASHES)


async def test_an_agent_that_fell_silent_is_known_no_more(made: list[ToldCaches]) -> None:
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await agent_in(house, "p1")
        await ask(house, PROMPTS[:3])
        await agent.die()
        await house.pass_time(4.0)
        assert not made[-1].knows("p1")
        assert made[-1].cached_tokens("p1", PROMPTS[2].hashes) == 0


async def test_a_successor_learns_from_dumps_what_was_told_before_it_was_there(made: list[ToldCaches]) -> None:
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agents = [await agent_in(house, pod) for pod in ("p1", "p2")]
        await ask(house, PROMPTS)
        await first.kill()
        await house.dispatcher()
        await house.pass_time(4.0)
        assert len(made) == 2
        assert agrees(made[-1], agents, HASHES)
        assert any(made[-1].cached_tokens(agent.pod, SYSTEM.hashes) for agent in agents)


async def test_a_mismatch_is_logged_once_reported_and_told_by_the_doctor(
    made: list[ToldCaches], caplog: pytest.LogCaptureFixture
) -> None:
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await agent_in(house, "p1")
        agent.engine.misnames = True
        for number in range(60):
            await house.gateway.post(f"r{number}", **PROMPTS[1].envelope_fields())
            await house.pass_time(0.25)
        assert not made[-1].knows("p1")
        [complaint] = [record.message for record in caplog.records if "mismatch" in record.message]
        assert "mismatch suspected at pod p1: predicted 0 cached tokens a request" in complaint
        assert house.reports[-1].suspicions == [complaint.partition(": ")[2]]
        [finding] = await told_by_doctor(house)
        assert finding.verdict == "wrong"
        assert finding.text == f"{NS}/{MS}: {complaint.partition(': ')[2]}"
        assert "tokenizer" in finding.advice


async def test_a_suspicion_is_noted_and_outlives_its_dispatcher_but_not_the_boot_it_is_about(
    made: list[ToldCaches],
) -> None:
    async with dispatch_house() as house:
        first = await house.dispatcher()
        agent = await agent_in(house, "p1")
        agent.engine.misnames = True
        for number in range(60):
            await house.gateway.post(f"r{number}", **PROMPTS[1].envelope_fields())
            await house.pass_time(0.25)
        before = await noted(house)
        assert [(one.pod, one.boot) for one in before] == [("p1", agent.boot)]
        await first.kill()
        await house.dispatcher()
        await house.pass_time(4.0)
        assert len(made) == 2
        assert not made[-1].knows("p1")
        assert await noted(house) == before
        await agent.die()
        await agent.boot_up()
        await ask(house, PROMPTS[:2] * 4, "new")
        await house.pass_time(3.0)
        assert made[-1].knows("p1")
        assert await noted(house) == []


async def noted(house: DispatchHouse) -> list[CacheSuspicion]:
    entry = await house.bus.store("REIGNS").get(suspicions_key(NS, MS, 0))
    return decode(entry.value, CacheSuspicions).suspicions if entry is not None else []


async def test_the_doctor_finds_nothing_wrong_with_caches_that_are_as_told(made: list[ToldCaches]) -> None:
    async with dispatch_house() as house:
        await house.dispatcher()
        await agent_in(house, "p1")
        await ask(house, PROMPTS[:2] * 15)
        [finding] = await told_by_doctor(house)
        assert finding.verdict == "fine"


async def told_by_doctor(house: DispatchHouse) -> list[Finding]:
    async def examine() -> list[Finding]:
        return [finding async for finding in dispatch_findings(house.bus) if finding.subject == "caches"]

    listening = asyncio.create_task(examine())
    await house.settle()
    await house.pass_time(1.0)
    return await listening
