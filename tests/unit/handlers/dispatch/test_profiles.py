"""Each pool is scheduled by its own profile, and by the last good one when the new one cannot be used."""

import logging

import pytest

from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.handlers.dispatch import main
from matrixinfer.handlers.dispatch.cache_index.sent_prompts import SentPrompts
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Scorer
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN, Factory
from support.dispatch import DispatchHouse, dispatch_house
from support.scripted import MS

HASHED = Profile(name="hashed", scorers=[WeightedPlugin("bounded_hash")])
BAD = Profile(name="bad", scorers=[WeightedPlugin("least_latency", parameters={"half_life_s": "long"})])


async def policies(house: DispatchHouse, modelserver: str = MS) -> list[str]:
    await house.pass_time(1.5)
    return [decision.policy for decision in await house.decisions(modelserver)]


async def test_a_changed_profile_is_followed_while_requests_come():
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.agent("p1", slots=4)
        await house.post("a")
        await house.pool(profile=HASHED)
        await house.post("b")
        await house.pool()
        await house.post("c")
        assert await policies(house) == ["default", "hashed", "default"]


async def test_the_queues_report_tells_what_each_plug_in_takes():
    async with dispatch_house() as house:
        await house.pool(profile=HASHED)
        await house.dispatcher()
        await house.agent("p1", slots=1)
        await house.post("a", "b")
        await house.pass_time(0.5)
        timings = {timing.plugin: timing for timing in house.reports[-1].timings}
        assert set(timings) == {"scorer bounded_hash", "picker max_score"}
        assert all(timing.calls == 1 and timing.total_s == timing.longest_s > 0 for timing in timings.values())


async def test_a_pool_starts_with_the_profile_of_its_entry_and_two_pools_have_two():
    async with dispatch_house() as house:
        await house.pool(profile=HASHED)
        await house.pool("other", profile=Profile(name="random", filters=[Plugin("ready")]))
        await house.dispatcher()
        await house.agent("p1")
        await house.agent("p2", modelserver="other")
        await house.post("a")
        await house.gateway.post("b", modelserver="other")
        assert await policies(house) == ["hashed"]
        assert await policies(house, "other") == ["random"]


async def test_a_bad_profile_keeps_the_last_good_one_and_says_once_which_field_is_wrong(
    caplog: pytest.LogCaptureFixture,
):
    async with dispatch_house() as house:
        await house.pool(profile=HASHED)
        await house.dispatcher()
        await house.agent("p1", slots=4)
        with caplog.at_level(logging.ERROR, "matrixinfer.dispatch.pool"):
            await house.pool(profile=BAD)
            await house.list_pod("p2")
        await house.post("a")
        assert await policies(house) == ["hashed"]
        (complaint,) = caplog.messages
        assert "'hashed'" in complaint
        assert "profile.scorers[0].parameters.half_life_s: expected `float`, got `str`" in complaint


async def test_a_plugin_that_cannot_be_made_is_a_bad_profile_and_harms_no_pool(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def unmakeable(_: NoParameters) -> Scorer:
        raise OSError("no model file")

    learned = BUILT_IN._replace(scorers={**BUILT_IN.scorers, "learned": Factory(NoParameters, unmakeable)})
    monkeypatch.setattr(main, "installed", lambda: learned)
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.agent("p1", slots=4)
        with caplog.at_level(logging.ERROR, "matrixinfer.dispatch.pool"):
            await house.pool(profile=Profile(scorers=[WeightedPlugin("learned")]))
        await house.post("a")
        assert await policies(house) == ["default"]
        (complaint,) = caplog.messages
        assert "profile.scorers[0]: 'learned' cannot be made: OSError: no model file" in complaint


async def test_the_memory_of_sent_prompts_is_told_the_pods_and_their_boots_as_time_passes(
    monkeypatch: pytest.MonkeyPatch,
):
    told: list[dict[str, str]] = []
    monkeypatch.setattr(
        SentPrompts, "tick", lambda self, pods, now: told.append({name: pod.boot for name, pod in pods.items()})
    )
    async with dispatch_house() as house:
        await house.dispatcher()
        await house.agent("p1")
        await house.pass_time(1.0)
        assert [*told[-1]] == ["p1"]
        assert told[-1]["p1"]


async def test_a_changed_weight_of_a_tenant_is_followed():
    async with dispatch_house() as house:
        await house.dispatcher()
        agent = await house.agent("p1", slots=1)
        await house.post(*[f"a{number}" for number in range(6)], tenant="a")
        await house.post(*[f"b{number}" for number in range(6)], tenant="b")
        await house.pool(weights={"b": 4.0})
        served = []
        for _ in range(6):
            (rid,) = agent.waiting_rids
            served.append(rid[0])
            await agent.start(rid)
            await agent.finish(rid, usage=Usage(1000, 0, 0))
            await house.settle()
        assert served.count("b") >= 4, served
