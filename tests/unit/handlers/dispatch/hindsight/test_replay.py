"""Recorded decisions, decided again: the same profile chooses the same, another one tells the difference."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts.decision import DecisionBatch
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.handlers.dispatch.hindsight.rebuild import expected, rebuild
from matrixinfer.handlers.dispatch.hindsight.replay import Changes, Replay, Verdict
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN
from matrixinfer.handlers.dispatch.scheduling.witness import has_all_recorded
from support.recorded import EVERYTHING, decided, some_pods, some_request
from support.scheduling import a_pod, a_request, a_scheduler

SEEDS = st.integers(0, 2**32)
SAMPLED = [number for number in range(5000) if has_all_recorded(f"r{number}")]
OTHERS = [number for number in range(200) if not has_all_recorded(f"r{number}")]


def replayed(batch: DecisionBatch, profile: Profile) -> tuple[Changes, list[Verdict]]:
    again = Replay(a_scheduler(profile), Random(0))
    verdicts = [again.decide(decision, batch.sights) for decision in batch.decisions]
    return again.changes, [verdict for verdict in verdicts if verdict is not None]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, pods=st.integers(1, 8))
def test_the_same_profile_chooses_the_same_with_the_same_scores(seed: int, pods: int):
    rng = Random(seed)
    batch = decided(EVERYTHING, some_pods(pods, rng), [some_request(number, rng) for number in OTHERS[:12]], rng)
    changes, verdicts = replayed(batch, EVERYTHING)
    assert len(verdicts) == len(batch.decisions) == 12
    assert (changes.moved, changes.held) == (0, 0)
    for verdict in verdicts:
        recorded = {each.pod: each.score for each in verdict.decision.candidates}[verdict.decision.pod]
        assert verdict.recorded_total == pytest.approx(recorded, abs=1e-12)
        assert verdict.recorded.cached_tokens == verdict.decision.cached_tokens


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_a_sampled_decision_has_every_candidate_and_is_decided_the_same_in_a_larger_pool(seed: int):
    rng = Random(seed)
    batch = decided(EVERYTHING, some_pods(30, rng), [some_request(number, rng) for number in SAMPLED[:5]], rng)
    changes, verdicts = replayed(batch, EVERYTHING)
    assert (changes.decisions, changes.complete, changes.moved) == (5, 5, 0)
    for verdict in verdicts:
        inputs = verdict.decision.inputs
        assert inputs is not None
        assert inputs.is_complete
        assert {batch.sights[index].pod for index in inputs.sights} == {f"p{index}" for index in range(30)}


@pytest.mark.parametrize("name", BUILT_IN.scorers)
def test_each_scorer_alone_gives_every_recorded_candidate_its_score_again(name: str):
    rng = Random(1)
    profile = Profile(name=name, scorers=[WeightedPlugin(name)])
    batch = decided(profile, some_pods(6, rng), [some_request(number, rng) for number in OTHERS[:10]], rng)
    again = a_scheduler(profile)
    for decision in batch.decisions:
        ask = rebuild(decision, batch.sights)
        assert ask is not None
        choice = again.judge(ask, rng)
        assert choice is not None
        recorded = {each.pod: each.score for each in decision.candidates}
        assert {each.pod: each.score for each in choice.candidates} == pytest.approx(recorded, abs=1e-12)
        again.learn(ask.request, next(pod for pod in ask.pods if pod.name == decision.pod), ask.now)


def test_a_profile_whose_filters_let_nobody_through_would_have_let_it_wait():
    batch = decided(
        Profile(scorers=[WeightedPlugin("token_load")]), [a_pod("p1"), a_pod("p2")], [a_request()], Random(1)
    )
    to_nobody = Profile(name="nobody", filters=[Plugin("role", {"only": ["nobody"]})])
    changes, (verdict,) = replayed(batch, to_nobody)
    assert (changes.held, changes.moved, changes.after) == (1, 0, {})
    assert (verdict.pod, verdict.total) == ("", None)


def test_where_the_other_profile_finds_both_as_good_nothing_moves():
    batch = decided(
        Profile(scorers=[WeightedPlugin("least_requests")]), some_pods(4, Random(3)), [a_request()], Random(1)
    )
    changes, (verdict,) = replayed(batch, Profile(scorers=[WeightedPlugin("lora_affinity")]))
    assert not verdict.has_moved
    assert changes.before == changes.after


def test_the_changes_are_counted_for_each_pod_with_the_largest_as_examples():
    pods = [a_pod("busy", used=7, prefill_tokens=10_000), a_pod("idle", prefill_tokens=20_000, slots=9)]
    requests = [a_request(key=(f"r{number}", 1)) for number in OTHERS[:5]]
    fast = Profile(name="fast", scorers=[WeightedPlugin("predicted_ttft", parameters={"load_weight_s": 0.0})])
    batch = decided(fast, pods, requests, Random(1))
    assert {decision.pod for decision in batch.decisions} == {"busy"}
    changes, verdicts = replayed(batch, Profile(name="few", scorers=[WeightedPlugin("least_requests")]))
    assert (changes.before, changes.after, changes.moved) == ({"busy": 5}, {"idle": 5}, 5)
    assert changes.ttft_before_s == pytest.approx(sum(verdict.recorded.ttft_s for verdict in verdicts))
    assert changes.ttft_after_s > changes.ttft_before_s
    assert len(changes.examples) == 3
    sizes = [abs(each.expected.ttft_s - each.recorded.ttft_s) for each in changes.examples]
    assert sizes == sorted(sizes, reverse=True)


def test_a_decision_without_inputs_is_counted_and_left_out():
    batch = decided(EVERYTHING, some_pods(2, Random(1)), [a_request()], Random(1))
    bare = msgspec.structs.replace(batch.decisions[0], inputs=None)
    again = Replay(a_scheduler(), Random(0))
    assert again.decide(bare, []) is None
    assert (again.changes.unrecorded, again.changes.decisions) == (1, 0)


def test_what_was_expected_of_each_candidate_is_told_by_name():
    pods = [a_pod("p1", used=2, prefill_tokens=1000), a_pod("p2")]
    batch = decided(Profile(name="x", scorers=[WeightedPlugin("token_load")]), pods, [a_request(2000)], Random(1))
    ask = rebuild(batch.decisions[0], batch.sights)
    assert ask is not None
    by_pod = expected(ask)
    assert by_pod["p1"].ttft_s == pytest.approx((3000 - by_pod["p1"].cached_tokens) / 10_000)
    assert (by_pod["p1"].load, by_pod["p2"].load) == (0.25, 0.0)
