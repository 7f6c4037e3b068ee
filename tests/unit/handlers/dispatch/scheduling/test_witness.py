"""A witness takes down what a decision saw before anything changes, and what seldom changes only once."""

from __future__ import annotations

from matrixinfer.bus.contracts.load import Snapshot
from matrixinfer.bus.ids import new_request_id
from matrixinfer.handlers.dispatch.prefill_model import Guess, PrefillModel
from matrixinfer.handlers.dispatch.scheduling.witness import COMPLETE_ONE_IN, Witness, has_all_recorded
from support.scheduling import NOW, a_pod, a_request, an_ask


def test_one_request_in_a_hundred_is_recorded_whole_and_always_the_same():
    rids = [new_request_id() for _ in range(20_000)]
    share = sum(map(has_all_recorded, rids)) / len(rids)
    assert 0.5 / COMPLETE_ONE_IN < share < 2.0 / COMPLETE_ONE_IN
    assert [has_all_recorded(rid) for rid in rids] == [has_all_recorded(rid) for rid in rids]


def test_a_pod_is_seen_once_until_something_of_it_changes():
    pod = a_pod("p", prefill=PrefillModel(Guess()))
    witness, ask = Witness(), an_ask([pod])
    before = witness.see(ask, [0]).sights[0]
    assert witness.see(ask, [0]).sights[0] is before
    pod.footprints.prefill_tokens += 500
    assert witness.see(ask, [0]).sights[0] is before
    pod.learn(Snapshot(slots=8, kv_usage=0.5), NOW)
    after = witness.see(ask, [0]).sights[0]
    assert after.kv_usage == 0.5
    pod.prefill.observe(1000, 9.0, NOW)
    assert witness.see(ask, [0]).sights[0].per_token_s != after.per_token_s


def test_what_was_seen_does_not_change_with_the_pod():
    pods = [a_pod("p", used=1, prefill_tokens=100), a_pod("q", used=2)]
    seen = Witness().see(an_ask(pods, approximate_tokens=[7, 0], exact_tokens=[None, 5]), [1, 0])
    pods[0].footprints.prefill_tokens = pods[0].used = 99
    assert [sight.pod for sight in seen.sights] == ["q", "p"]
    assert (seen.used, seen.prefill_tokens) == ([2, 1], [0, 100])
    assert (seen.approximate_tokens, seen.exact_tokens) == ([0, 7], [5, None])
    assert (seen.everyone, seen.everyone_used) == (2, 3)


def test_columns_that_say_nothing_are_empty():
    seen = Witness().see(an_ask([a_pod("p")], exact_tokens=[None]), [0])
    assert (seen.approximate_tokens, seen.exact_tokens, seen.adapters) == ([], [], [])


def test_adapters_are_counted_for_a_request_that_wants_one():
    pod = a_pod("p", adapters=frozenset({"law", "med"}))
    pod.placed = {("x", 1): a_request(adapter="sql"), ("y", 1): a_request(adapter="law")}
    seen = Witness().see(an_ask([pod], a_request(adapter="sql")), [0])
    assert seen.adapters == [(False, 2, True, 1)]
