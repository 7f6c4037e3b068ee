"""A profile is checked when it is loaded, and what is wrong is named by its field."""

from random import Random
from typing import Any

import pytest

from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.handlers.dispatch.errors import BadProfile
from matrixinfer.handlers.dispatch.scheduling.default import DEFAULT
from matrixinfer.handlers.dispatch.scheduling.live import LiveScheduler
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Scorer
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN, Factory
from support.scheduling import LEAST_REQUESTS, NOW, a_pod, a_request, a_scheduler, surroundings


def problems(profile: Profile) -> list[str]:
    with pytest.raises(BadProfile) as caught:
        a_scheduler(profile)
    return caught.value.problems


def with_parameters(name: str, **parameters: Any) -> Profile:
    """Any: what a plug-in might be told. The scorer is the third one."""
    return Profile(
        scorers=[
            WeightedPlugin("kv_cache"),
            WeightedPlugin("prefix_cache"),
            WeightedPlugin(name, parameters=parameters),
        ]
    )


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        (
            with_parameters("least_latency", half_life_s="long"),
            "profile.scorers[2].parameters.half_life_s: expected `float`, got `str`",
        ),
        (
            with_parameters("least_latency", half_life_s=-1),
            "profile.scorers[2].parameters.half_life_s: expected `float` > 0.0",
        ),
        (
            with_parameters("least_latency", half_life=1),
            "profile.scorers[2].parameters.half_life is not known; known are: ttft_share, half_life_s",
        ),
        (with_parameters("gpu_cache", weight=1), "profile.scorers[2].parameters.weight is not known; known are: none"),
        (
            with_parameters("topology", weights=[0.1, "far"]),
            "profile.scorers[2].parameters.weights[1]: expected `float`, got `str`",
        ),
        (
            with_parameters("topology", weights=[0.2, 0.1]),
            "profile.scorers[2].parameters: weights: expected at least one, and each no less than the one before it",
        ),
        (
            Profile(filters=[Plugin("has_room", {"max_prefill_s": float("inf")})]),
            "profile.filters[0].parameters.max_prefill_s: expected `float` <= 1000000000000.0",
        ),
        (
            Profile(picker=Plugin("weighted_random", {"temperature": 0})),
            "profile.picker.parameters.temperature: expected `float` > 0.0",
        ),
        (
            Profile(picker=Plugin("best")),
            "profile.picker.name: 'best' is not known; known are: max_score, power_of_two, weighted_random",
        ),
        (
            Profile(filters=[Plugin("ready"), Plugin("kv_cache")]),
            "profile.filters[1].name: 'kv_cache' is not known; known are: has_adapter, has_room, ready, role",
        ),
        (
            Profile(scorers=[WeightedPlugin("kv_cache", weight=0.0)]),
            "profile.scorers[0].weight: expected a number above 0, and 1e+06 at most, got 0",
        ),
        (
            Profile(scorers=[WeightedPlugin("kv_cache", weight=float("nan"))]),
            "profile.scorers[0].weight: expected a number above 0, and 1e+06 at most, got nan",
        ),
        (
            with_parameters("bounded_hash", points=1_000_000),
            "profile.scorers[2].parameters.points: expected `int` <= 1024",
        ),
        (
            with_parameters("session_affinity", sessions=10**9),
            "profile.scorers[2].parameters.sessions: expected `int` <= 2000000",
        ),
        (
            with_parameters("token_load", half_tokens=2**50),
            "profile.scorers[2].parameters.half_tokens: expected `int` <= 1099511627776",
        ),
        (
            with_parameters("topology", weights=[1.0] * 17),
            "profile.scorers[2].parameters.weights: expected `array` of length <= 16",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_by_its_field(profile: Profile, problem: str):
    assert problems(profile) == [problem]


def test_everything_that_is_wrong_is_told_at_once():
    bad = Profile(
        filters=[Plugin("nothing")],
        scorers=[WeightedPlugin("kv_cache", weight=-1), WeightedPlugin("kv_cache")],
        picker=Plugin("nobody"),
    )
    fields = [problem.split(":")[0] for problem in problems(bad)]
    assert fields == [
        "profile.filters[0].name",
        "profile.picker.name",
        "profile.scorers[0].weight",
        "profile.scorers[0].name",
        "profile.scorers[1].name",
    ]


def test_a_plugin_that_cannot_be_made_is_a_problem_of_its_field():
    def unmakeable(_: NoParameters) -> Scorer:
        raise OSError("no model file")

    registry = BUILT_IN._replace(scorers={**BUILT_IN.scorers, "learned": Factory(NoParameters, unmakeable)})
    with pytest.raises(BadProfile) as caught:
        compile_profile(with_parameters("learned"), registry, surroundings())
    assert caught.value.problems == ["profile.scorers[2]: 'learned' cannot be made: OSError: no model file"]


def test_an_empty_profile_is_the_default_one_which_is_whole():
    assert a_scheduler(Profile()).name == DEFAULT.name == a_scheduler(DEFAULT).name


def test_a_profile_without_a_name_is_called_so():
    assert a_scheduler(Profile(scorers=[WeightedPlugin("kv_cache")])).name == "unnamed"


def test_a_live_scheduler_keeps_the_last_good_profile_and_complains_once_a_change():
    live = LiveScheduler(a_scheduler)
    bad = with_parameters("nothing")
    with pytest.raises(BadProfile):
        live.follow(bad)
    assert live.name == DEFAULT.name
    assert not live.follow(bad)
    assert live.follow(LEAST_REQUESTS)
    assert not live.follow(LEAST_REQUESTS)
    with pytest.raises(BadProfile):
        live.follow(bad)
    assert live.name == LEAST_REQUESTS.name
    assert "scorer least_requests" in live.timings()


def sticky(weight: float = 1.0, **parameters: Any) -> Profile:
    """Any: what the scorer is told."""
    return Profile(scorers=[WeightedPlugin("session_affinity", weight, parameters), WeightedPlugin("least_requests")])


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        (sticky(2.0), True),
        (Profile(filters=[Plugin("ready")], scorers=sticky(3.0).scorers, picker=Plugin("power_of_two")), True),
        (sticky(keep_s=60.0), False),
        (LEAST_REQUESTS, False),
    ],
    ids=["another weight", "another filter and picker", "other parameters", "without it"],
)
def test_a_plugin_that_stays_the_same_when_the_profile_changes_keeps_what_it_learned(changed: Profile, stays: bool):
    live = LiveScheduler(a_scheduler)
    live.follow(sticky())
    for number in range(20):
        live.pick(a_request(session=f"s{number}"), [a_pod("b")], NOW, Random(1))
    assert live.follow(changed)
    pods = [a_pod("a"), a_pod("b")]
    choices = [live.pick(a_request(session=f"s{number}"), pods, NOW, Random(number)) for number in range(20)]
    assert ({choice.pod.name for choice in choices if choice} == {"b"}) is stays
