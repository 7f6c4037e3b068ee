"""The runtime: the order of the stages, what is known of caches, broken promises, learning, timing, the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest

from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.handlers.dispatch.cache_index.approximate import ApproximateIndex
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Choice, Filter, Knowledge, Scorer
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN, Factory, Registry
from matrixinfer.handlers.dispatch.scheduling.runtime import TIMED_EVERY, ProfileScheduler
from matrixinfer.handlers.dispatch.scheduling.scores import RECORDED_CANDIDATES
from support.scheduling import NOW, SentPrefixes, ToldPrefixes, a_pod, a_request, a_scheduler, surroundings


class Spy:
    """A scorer that keeps what it was asked, and answers what the test says."""

    def __init__(self, answer: Callable[[Ask], Sequence[float]] | None = None) -> None:
        self.asks: list[Ask] = []
        self.learned: list[str] = []
        self._answer = answer or (lambda ask: [1.0] * len(ask.pods))

    def score(self, ask: Ask) -> Sequence[float]:
        self.asks.append(ask)
        return self._answer(ask)

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        self.learned.append(pod.name)


class Only:
    """A filter that keeps one pod by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        return [pod for pod in pods if pod.name == self._name]


def with_scorers(filter_name: str = "", given: dict[str, Any] | None = None, **spies: Spy) -> ProfileScheduler:
    """Any: what `surroundings` takes."""
    scorers: dict[str, Factory[Scorer]] = {
        name: Factory(NoParameters, partial(_given, spy)) for name, spy in spies.items()
    }
    filters: dict[str, Factory[Filter]] = {"only": Factory(NoParameters, lambda _: Only(filter_name))}
    registry = Registry(filters, {**BUILT_IN.scorers, **scorers}, BUILT_IN.pickers)
    profile = Profile(filters=[Plugin("only")] if filter_name else [], scorers=[WeightedPlugin(name) for name in spies])
    return compile_profile(profile, registry, surroundings(**(given or {})))


def _given(spy: Spy, parameters: NoParameters) -> Spy:
    return spy


def pick(scheduler: ProfileScheduler, pods: list[Pod], request: Request | None = None, seed: int = 1) -> Choice:
    choice = scheduler.pick(request or a_request(), pods, NOW, Random(seed))
    assert choice is not None
    return choice


def test_scores_are_weighed_and_the_best_mean_wins():
    profile = Profile(scorers=[WeightedPlugin("least_requests", weight=3.0), WeightedPlugin("token_load", weight=1.0)])
    choice = pick(a_scheduler(profile), [a_pod("slots", used=2), a_pod("tokens", kv_tokens=32_768)])
    assert choice.pod.name == "tokens"
    assert [candidate.score for candidate in choice.candidates] == pytest.approx([0.875, 0.8125])
    assert choice.candidates[0].scores == {"least_requests": 1.0, "token_load": 0.5}


def test_when_a_filter_keeps_nobody_the_request_waits():
    scheduler = with_scorers("nobody", spy=Spy())
    assert scheduler.pick(a_request(), [a_pod("a")], NOW, Random(1)) is None


def test_a_rare_pod_that_filters_keep_is_found_among_very_many():
    pods = [a_pod(f"p{index}") for index in range(500)]
    for name in ("p7", "p250", "p499"):
        assert pick(with_scorers(name, spy=Spy()), pods).pod.name == name


def test_no_more_than_the_limit_are_scored_and_scorers_see_all_the_others_beside_them():
    spy = Spy()
    pods = [a_pod(f"p{index}") for index in range(500)]
    pick(with_scorers(given={"limit": 16}, spy=spy), pods)
    assert len(spy.asks[0].pods) == 16
    assert list(spy.asks[0].everyone) == pods


# -- caches
def test_what_the_engine_tells_is_better_knowledge_than_what_was_sent():
    spy, sent = Spy(), SentPrefixes()
    pods, request = [a_pod(name) for name in ("full", "evicted", "mute")], a_request(1000, block_hashes=b"x" * 8)
    for pod in pods:
        sent.placed(request, pod, NOW)
    knowledge = Knowledge(ToldPrefixes(full=5000, evicted=0), sent)
    choice = pick(with_scorers(given={"knowledge": knowledge}, spy=spy), pods, request)
    (ask,) = spy.asks
    assert ask.exact_tokens == [1000, 0, None], "no more than the prompt has"
    assert ask.approximate_tokens == [256, 256, 256]
    assert ask.cached_tokens == [1000, 0, 256]
    assert choice.cached_tokens == ask.cached_tokens[pods.index(choice.pod)]


def test_who_holds_a_prompt_is_told_by_the_engines_where_they_tell_and_by_what_was_sent_elsewhere():
    sent, request = SentPrefixes(), a_request(1000, block_hashes=b"x" * 8)
    for name in ("full", "evicted", "mute"):
        sent.placed(request, a_pod(name), NOW)
    knowledge = Knowledge(ToldPrefixes(full=512, evicted=0), sent)
    assert with_scorers(given={"knowledge": knowledge}, spy=Spy()).holders(request) == {"full": 512, "mute": 256}


def test_without_hashes_or_an_index_nothing_is_known_to_be_cached():
    spy = Spy()
    scheduler = with_scorers(given={"knowledge": Knowledge(ToldPrefixes(a=0))}, spy=spy)
    pick(scheduler, [a_pod("a"), a_pod("b")])
    pick(with_scorers(spy=spy), [a_pod("a")], a_request(block_hashes=b"x" * 8))
    assert [ask.exact_tokens for ask in spy.asks] == [[0, None], [None]]
    assert [ask.cached_tokens for ask in spy.asks] == [[0, 0], [0]]


def test_the_holders_of_the_prompt_are_among_the_candidates_of_a_large_pool():
    pods = [a_pod(f"p{index}") for index in range(300)]
    profile = Profile(scorers=[WeightedPlugin("kv_cache")])
    scheduler = a_scheduler(profile, knowledge=Knowledge(ToldPrefixes(p123=4096), SentPrefixes()))
    assert pick(scheduler, pods, a_request(block_hashes=b"x" * 8)).pod.name == "p123"


def test_the_indexes_of_dispatch_are_such_knowledge():
    sent, request = ApproximateIndex(), a_request(1000, block_hashes=b"x" * 16)
    sent.record("p123", request.block_hashes, NOW)
    pods = [a_pod(f"p{index}") for index in range(300)]
    scheduler = a_scheduler(Profile(scorers=[WeightedPlugin("prefix_cache")]), knowledge=Knowledge(None, sent))
    choice = pick(scheduler, pods, request)
    assert (choice.pod.name, choice.cached_tokens) == ("p123", 512)


def test_a_session_finds_its_pod_in_a_large_pool():
    pods = [a_pod(f"p{index}") for index in range(300)]
    scheduler = a_scheduler(Profile(scorers=[WeightedPlugin("session_affinity")]))
    first = pick(scheduler, pods, a_request(session="s"))
    assert {pick(scheduler, pods, a_request(session="s"), seed).pod.name for seed in range(20)} == {first.pod.name}


def test_plugins_and_both_indexes_learn_where_a_request_went():
    class Overlaid(SentPrefixes):
        """Exact, with what cannot have been told yet on top."""

        def knows(self, pod: str) -> bool:
            return True

        knows_bytes = knows

    spy, exact, sent = Spy(), Overlaid(), SentPrefixes()
    request = a_request(block_hashes=b"x" * 16)
    scheduler = with_scorers(given={"knowledge": Knowledge(exact, sent)}, spy=spy)
    choice = pick(scheduler, [a_pod("a"), a_pod("b")], request)
    assert spy.learned == [choice.pod.name]
    assert exact.matches(request.block_hashes) == sent.matches(request.block_hashes) == {choice.pod.name: 512}


# -- broken promises
@pytest.mark.parametrize(
    ("answer", "counted", "told"),
    [
        ([math.nan, 0.5], [0.0, 0.5], "gave nan"),
        ([0.5, math.nan], [0.5, 0.0], "gave nan"),
        ([math.inf, -math.inf], [1.0, 0.0], "gave inf"),
        ([-0.5, 1.5], [0.0, 1.0], "gave -0.5"),
        ([1.0], [0.0, 0.0], "gave 1 scores for 2 pods"),
        ([], [0.0, 0.0], "gave 0 scores for 2 pods"),
    ],
)
def test_a_score_that_is_none_is_told_once_and_bounded(answer: list[float], counted: list[float], told: str):
    told_of: list[str] = []
    scheduler = with_scorers(given={"report": told_of.append}, broken=Spy(lambda ask: answer))
    pods = [a_pod("a"), a_pod("b")]
    choices = [pick(scheduler, pods) for _ in range(3)]
    for choice in choices:
        by_pod = {candidate.pod: candidate.scores["broken"] for candidate in choice.candidates}
        assert [by_pod["a"], by_pod["b"]] == counted
    (sentence,) = told_of
    assert "'broken'" in sentence
    assert told in sentence


# -- failures
class Broken:
    """A plug-in of every kind, which fails at everything."""

    def __init__(self, parameters: NoParameters) -> None:
        pass

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        raise ZeroDivisionError("keep")

    def score(self, ask: Ask) -> Sequence[float]:
        raise ZeroDivisionError("score")

    def pick(self, ask: Ask, totals: Sequence[float], rng: Rng) -> int:
        raise ZeroDivisionError("pick")

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        raise ZeroDivisionError("placed")

    def wanted(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[str]:
        raise ZeroDivisionError("wanted")


def test_plugins_that_fail_are_told_of_once_and_decisions_go_on_without_them():
    told: list[str] = []
    registry = Registry(
        {"broken": Factory(NoParameters, Broken)},
        {**BUILT_IN.scorers, "broken": Factory(NoParameters, Broken)},
        {"broken": Factory(NoParameters, Broken)},
    )
    profile = Profile(
        filters=[Plugin("broken")],
        scorers=[WeightedPlugin("broken"), WeightedPlugin("least_requests")],
        picker=Plugin("broken"),
    )
    scheduler = compile_profile(profile, registry, surroundings(report=told.append))
    pods = [a_pod(f"p{index}", used=1) for index in range(99)] + [a_pod("idle")]
    for crowd in (pods[-2:], pods):
        choices = [pick(scheduler, crowd, seed=seed) for seed in range(3)]
        assert [choice.candidates[0].scores["broken"] for choice in choices] == [0.0] * 3
    assert pick(scheduler, pods[-2:]).pod.name == "idle"
    assert sorted(sentence.split(" failed")[0] for sentence in told) == [
        "filter 'broken'",
        "picker 'broken'",
        "scorer 'broken'",
    ]
    assert all("ZeroDivisionError" in sentence for sentence in told)


@pytest.mark.parametrize("answer", [None, ["high", "low"], [None, 1.0], 0.5], ids=repr)
def test_a_scorer_that_answers_no_numbers_counts_as_nought(answer: Any):
    """Any: whatever a plug-in may answer."""
    told: list[str] = []
    choice = pick(with_scorers(given={"report": told.append}, odd=Spy(lambda ask: answer)), [a_pod("a"), a_pod("b")])
    assert choice.candidates[0].scores == {"odd": 0.0}
    (sentence,) = told
    assert "scorer 'odd' failed" in sentence


def test_plugins_may_answer_with_a_generator_and_its_failure_is_guarded_too():
    class Mild(Broken):
        def placed(self, request: Request, pod: Pod, now: float) -> None:
            pass

    class Lazy(Mild):
        def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Any:
            return (pod for pod in pods if pod.name != "shunned")

        def wanted(self, request: Request, pods: Sequence[Pod], now: float) -> Any:
            yield from ["idle"]

    class LazilyBroken(Mild):
        def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Any:
            return (pod for pod in pods if 1 / 0)

        def wanted(self, request: Request, pods: Sequence[Pod], now: float) -> Any:
            yield 1 // 0

    told: list[str] = []
    filters: dict[str, Factory[Filter]] = {
        "lazy": Factory(NoParameters, Lazy),
        "broken": Factory(NoParameters, LazilyBroken),
    }
    profile = Profile(filters=[Plugin("lazy"), Plugin("broken")], scorers=[WeightedPlugin("least_requests")])
    scheduler = compile_profile(profile, BUILT_IN._replace(filters=filters), surroundings(report=told.append))
    pods = [a_pod("shunned"), *[a_pod(f"p{index}", used=1) for index in range(99)], a_pod("idle")]
    assert pick(scheduler, [pods[0], pods[-1]]).pod.name == "idle"
    assert pick(scheduler, pods).pod.name == "idle"
    assert [sentence.split(" failed")[0] for sentence in told] == ["filter 'broken'"]


@pytest.mark.parametrize("index", [-1, 2, None, 0.5])
def test_a_pick_that_is_no_candidate_is_told_of_and_the_best_is_taken(index: Any):
    """Any: whatever a plug-in may answer."""

    class Odd(Broken):
        def pick(self, ask: Ask, totals: Sequence[float], rng: Rng) -> int:
            return index

    told: list[str] = []
    registry = BUILT_IN._replace(pickers={"odd": Factory(NoParameters, Odd)})
    profile = Profile(scorers=[WeightedPlugin("least_requests")], picker=Plugin("odd"))
    scheduler = compile_profile(profile, registry, surroundings(report=told.append))
    assert pick(scheduler, [a_pod("full", used=7), a_pod("idle")]).pod.name == "idle"
    assert len(told) == 1


# -- the record
def test_the_best_eight_are_recorded_best_first_and_the_winner_first_among_equals():
    pods = [a_pod(f"p{index}", used=index // 5) for index in range(20)]
    for seed in range(20):
        choice = pick(a_scheduler(), pods, seed=seed)
        assert choice.candidates[0].pod == choice.pod.name
        scores = [candidate.score for candidate in choice.candidates]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == RECORDED_CANDIDATES


def test_a_winner_that_is_not_among_the_best_is_recorded_all_the_same():
    profile = Profile(
        scorers=[WeightedPlugin("least_requests")], picker=Plugin("weighted_random", {"temperature": 1e9})
    )
    scheduler, pods = a_scheduler(profile), [a_pod(f"p{index}", used=index, slots=20) for index in range(20)]
    for seed in range(20):
        choice = pick(scheduler, pods, seed=seed)
        assert choice.pod.name in [candidate.pod for candidate in choice.candidates]
        assert len(choice.candidates) == RECORDED_CANDIDATES


def test_a_profile_without_scorers_chooses_by_chance():
    scheduler = a_scheduler(Profile(filters=[Plugin("ready")]))
    choices = [pick(scheduler, [a_pod("a"), a_pod("b")], seed=seed) for seed in range(20)]
    assert {choice.pod.name for choice in choices} == {"a", "b"}
    assert choices[0].candidates[0].scores == {}


# -- timing
def test_one_in_so_many_decisions_is_timed_for_each_plugin_by_kind_and_name():
    ticks = iter(range(10**6))
    profile = Profile(filters=[Plugin("ready")], scorers=[WeightedPlugin("token_load")])
    scheduler = a_scheduler(profile, clock=lambda: float(next(ticks)))
    for _ in range(2 * TIMED_EVERY + 1):
        pick(scheduler, [a_pod("a"), a_pod("b")])
    timings = scheduler.timings()
    assert set(timings) == {"filter ready", "scorer token_load", "picker max_score"}
    assert {timing.calls for timing in timings.values()} == {3}
    assert {(timing.mean_s, timing.longest_s) for timing in timings.values()} == {(1.0, 1.0)}
