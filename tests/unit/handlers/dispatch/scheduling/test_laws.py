"""What every plug-in promises, whatever the pods and the request are like."""

from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Learner
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN, Factory
from support.scheduling import NOW, a_pod, a_request, a_scheduler, an_ask

ADAPTERS = st.sampled_from(["", "sql", "law"])
PLACES = st.lists(st.sampled_from(["x", "y"]), max_size=3).map(tuple)
TOKENS = st.integers(0, 200_000)


@st.composite
def pods(draw: st.DrawFn) -> list[Pod]:
    return [
        a_pod(
            f"p{index}",
            used=draw(st.integers(0, 9)),
            slots=draw(st.sampled_from([0, 1, 8])),
            prefill_tokens=draw(TOKENS),
            kv_tokens=draw(TOKENS),
            role=draw(st.sampled_from(["server", "prefill", "decode"])),
            topology=draw(PLACES),
            kv_usage=draw(st.floats(0, 1.2)),
            kv_capacity_tokens=draw(st.sampled_from([0, 1, 100_000])),
            ttft_s=draw(st.floats(0, 100)),
            tpot_s=draw(st.floats(0, 1)),
            measured_at=draw(st.sampled_from([float("-inf"), NOW - 1e6, NOW - 1, NOW])),
            adapters=frozenset(draw(st.sets(ADAPTERS.filter(bool)))),
            silent=draw(st.booleans()),
        )
        for index in range(draw(st.integers(1, 6)))
    ]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    return a_request(
        draw(TOKENS),
        adapter=draw(ADAPTERS),
        session=draw(st.sampled_from(["", "s"])),
        block_hashes=draw(st.sampled_from([b"", b"x" * 64])),
        near=draw(PLACES),
    )


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    found, request = draw(pods()), draw(requests())
    most = st.integers(0, request.prompt_tokens)
    exact = [draw(st.none() | most) for _ in found]
    approximate = [draw(most) for _ in found]
    cached = [guess if told is None else told for told, guess in zip(exact, approximate, strict=True)]
    return an_ask(found, request, exact_tokens=exact, approximate_tokens=approximate, cached_tokens=cached)


@pytest.mark.parametrize("name", BUILT_IN.scorers)
@settings(deadline=None, max_examples=40)
@given(ask=asks())
def test_a_score_is_in_the_range_for_each_pod_and_the_same_question_has_the_same_answer(name: str, ask: Ask):
    factory = BUILT_IN.scorers[name]
    scorer = factory.make(factory.parameters())
    if isinstance(scorer, Learner):
        scorer.placed(ask.request, ask.pods[0], NOW)
    scores = list(scorer.score(ask))
    assert len(scores) == len(ask.pods)
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert list(scorer.score(ask)) == scores


@pytest.mark.parametrize("name", BUILT_IN.filters)
@settings(deadline=None, max_examples=40)
@given(found=pods(), request_=requests())
def test_a_filter_never_invents_doubles_or_reorders_pods(name: str, found: list[Pod], request_: Request):
    factory = BUILT_IN.filters[name]
    kept = list(factory.make(factory.parameters()).keep(request_, found, NOW))
    assert kept == [pod for pod in found if pod in kept]
    assert list(factory.make(factory.parameters()).keep(request_, kept, NOW)) == kept


@pytest.mark.parametrize("name", BUILT_IN.pickers)
@settings(deadline=None, max_examples=40)
@given(totals=st.lists(st.floats(0, 1), min_size=1, max_size=40), seed=st.integers())
def test_a_picker_picks_a_candidate(name: str, totals: list[float], seed: int):
    factory = BUILT_IN.pickers[name]
    ask = an_ask([a_pod(f"p{index}") for index in range(len(totals))])
    index = factory.make(factory.parameters()).pick(ask, totals, Random(seed))
    assert 0 <= index < len(totals)


profiles = st.builds(
    Profile,
    name=st.text(max_size=5),
    filters=st.lists(st.sampled_from(sorted(BUILT_IN.filters)).map(Plugin), max_size=3),
    scorers=st.lists(
        st.builds(WeightedPlugin, st.sampled_from(sorted(BUILT_IN.scorers)), st.floats(0.1, 10)),
        max_size=4,
        unique_by=lambda scorer: scorer.name,
    ),
    picker=st.none() | st.sampled_from(sorted(BUILT_IN.pickers)).map(Plugin),
)


@settings(deadline=None, max_examples=40)
@given(profile=profiles, found=pods(), request_=requests(), seed=st.integers())
def test_a_profile_round_trips_and_decides_the_same_on_the_other_side(
    profile: Profile, found: list[Pod], request_: Request, seed: int
):
    other = decode(encode(profile), Profile)
    assert other == profile
    one, two = (a_scheduler(each).pick(request_, found, NOW, Random(seed)) for each in (profile, other))
    assert one == two
    assert one is None or one.pod in found


LIMITS: dict[str, list[dict[str, Any]]] = {  # Any: what parameters may be
    "has_room": [{"max_prefill_s": 5e-324}, {"max_prefill_s": 1e12}],
    "role": [{"only": ["server"], "without": []}, {"only": [], "without": ["server"]}],
    "token_load": [{"half_tokens": 1}, {"half_tokens": 2**40}],
    "least_latency": [{"half_life_s": 5e-324, "ttft_share": 0.0}, {"half_life_s": 1e12, "ttft_share": 1.0}],
    "lora_affinity": [{"max_adapters": 1}, {"max_adapters": 2**40}],
    "session_affinity": [{"keep_s": 5e-324, "sessions": 1}, {"keep_s": 1e12, "sessions": 2_000_000}],
    "bounded_hash": [{"bound": 1.0 + 1e-12, "points": 1}, {"bound": 100.0, "points": 4}],
    "topology": [{"weights": [0.0]}, {"weights": [1.0] * 16}],
    "predicted_ttft": [{"load_weight_s": 0.0, "floor_s": 5e-324}, {"load_weight_s": 1e12, "floor_s": 1e12}],
    "weighted_random": [{"temperature": 5e-324}, {"temperature": 1e12}],
}
"""Of every plug-in that can be told something, the least and the most of it; `points` are dear, and 4 are many here."""


def test_each_plugin_that_can_be_told_something_is_tried_at_its_limits():
    everybody: dict[str, Factory[Any]] = {**BUILT_IN.filters, **BUILT_IN.scorers, **BUILT_IN.pickers}
    told = {name for name, factory in everybody.items() if msgspec.structs.fields(factory.parameters)}
    assert set(LIMITS) == told


def at_limits(table: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, told) for name in sorted(table) for told in [{}, *LIMITS.get(name, [])]]


extreme_profiles = st.builds(
    Profile,
    filters=st.lists(st.sampled_from([Plugin(*told) for told in at_limits(BUILT_IN.filters)]), max_size=3),
    scorers=st.lists(
        st.builds(
            lambda told, weight: WeightedPlugin(told[0], weight, told[1]),
            st.sampled_from(at_limits(BUILT_IN.scorers)),
            st.sampled_from([5e-324, 1.0, 1e6]),
        ),
        max_size=4,
        unique_by=lambda scorer: scorer.name,
    ),
    picker=st.sampled_from([Plugin(*told) for told in at_limits(BUILT_IN.pickers)]),
)

CROWDS = [[a_pod(f"p{index}", used=index % 9, measured_at=NOW) for index in range(count)] for count in (1, 2, 1000)]


@settings(deadline=None, max_examples=60)
@given(
    profile=extreme_profiles,
    crowd=st.sampled_from(CROWDS),
    now=st.sampled_from([0.0, NOW - 30.0, NOW, NOW + 1e9]),
    request_=requests(),
)
def test_no_profile_at_the_limits_of_its_parameters_fails_or_breaks_a_promise(
    profile: Profile, crowd: list[Pod], now: float, request_: Request
):
    """Whatever fails is reported, and a report fails this test. A `now` before the last news is a clock read early."""
    choice = a_scheduler(profile).pick(request_, crowd, now, Random(1))
    assert choice is None or choice.pod in crowd
