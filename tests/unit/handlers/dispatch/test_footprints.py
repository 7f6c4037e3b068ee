"""The tokens of a pod's work by prediction: whatever happens in whatever order, the sums are those of what is held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.contracts.load import Snapshot, WorkKey
from matrixinfer.handlers.dispatch.footprints import Footprints, Wait


def work(number: int) -> WorkKey:
    return WorkKey(f"r{number}", 1, 1)


def sums(footprints: Footprints) -> tuple[int, int]:
    return footprints.prefill_tokens, footprints.kv_tokens


def test_the_prefill_is_dropped_at_the_first_token_and_the_rest_at_the_end():
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, now=1.0)
    footprints.add(work(2), 100, 300, now=1.0)
    assert sums(footprints) == (1100, 1800)
    footprints.start(work(1), now=2.0)
    assert sums(footprints) == (100, 1800)
    footprints.end(work(1))
    assert sums(footprints) == (100, 300)
    footprints.end(work(2))
    assert sums(footprints) == (0, 0)


def test_a_first_token_tells_how_long_it_took_behind_how_much_prefill():
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, now=1.0)
    footprints.add(work(2), 100, 300, now=2.0)
    assert footprints.start(work(2), now=5.0) == Wait(1100, 3.0)
    assert footprints.start(work(2), now=6.0) is None
    assert footprints.start(work(9), now=6.0) is None


def test_what_is_ahead_shrinks_with_time_but_not_by_more_than_the_oldest_prompt():
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, now=1.0)
    footprints.add(work(2), 500, 600, now=1.0)
    assert [footprints.ahead_tokens(now, per_token_s=0.001) for now in (1.0, 1.4, 2.0, 9.0)] == [1500, 1100, 500, 500]
    footprints.start(work(1), now=3.0)
    assert footprints.ahead_tokens(3.2, per_token_s=0.001) == pytest.approx(300)
    footprints.start(work(2), now=4.0)
    assert footprints.ahead_tokens(9.0, per_token_s=0.001) == 0


def test_at_an_unknown_rate_nothing_of_what_is_ahead_counts_as_done():
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, now=1.0)
    assert footprints.ahead_tokens(9.0, per_token_s=0.0) == 1000


def test_a_pod_that_was_idle_begins_with_what_comes_then():
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, now=1.0)
    footprints.start(work(1), now=2.0)
    footprints.add(work(2), 500, 600, now=100.0)
    assert footprints.ahead_tokens(100.0, per_token_s=0.001) == 500


def test_a_wait_is_told_behind_what_was_left_when_it_was_placed():
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, now=1.0)
    footprints.add(work(2), 500, 600, now=1.5, per_token_s=0.001)
    assert footprints.start(work(2), now=3.0) == Wait(1000, 1.5)


def test_those_without_a_first_token_are_waiting():
    footprints = Footprints()
    for number in (1, 2, 3):
        footprints.add(work(number), 10, 20, now=1.0)
    footprints.start(work(1), now=2.0)
    footprints.end(work(2))
    assert (footprints.waiting, len(footprints)) == (1, 2)


def test_footprints_that_are_told_stand_still():
    footprints = Footprints.told(1000, 5000, waiting=3)
    assert (sums(footprints), footprints.waiting) == ((1000, 5000), 3)
    assert footprints.ahead_tokens(1e9, per_token_s=0.001) == 1000


def test_placing_the_same_work_again_changes_nothing():
    footprints = Footprints()
    for now in (1.0, 2.0):
        footprints.add(work(1), 1000, 1500, now)
    assert sums(footprints) == (1000, 1500)


def test_work_of_another_dispatcher_counts_with_the_mean_of_what_the_pod_tells():
    footprints = Footprints()
    snapshot = Snapshot(8, [work(1), work(2)], [work(3)], running_tokens=4000, waiting_tokens=500)
    footprints.agree(snapshot, [])
    assert sums(footprints) == (500, 4500)
    assert footprints.start(work(3), now=9.0) is None
    assert sums(footprints) == (0, 4500)
    footprints.agree(Snapshot(8, [work(2)], []), [])
    assert sums(footprints) == (0, 2000)


def test_a_snapshot_ends_what_it_lacks_but_what_the_pod_cannot_have_reported_stays():
    footprints = Footprints()
    for number in (1, 2, 3):
        footprints.add(work(number), 10 * number, 100 * number, now=1.0)
    footprints.agree(Snapshot(8, [work(1)], []), [work(3)])
    assert len(footprints) == 2
    assert sums(footprints) == (30, 400)


def test_what_runs_takes_what_the_engine_tells_and_its_output_not_what_the_prompts_were_guessed_at():
    footprints = Footprints()
    footprints.add(work(1), 250_000, 250_256, 1.0, output_tokens=256)
    footprints.add(work(2), 1000, 1500, 1.0, output_tokens=500)
    running = Snapshot(8, [work(1)], [work(2)], running_tokens=1200)
    footprints.agree(running, [])
    assert sums(footprints) == (1000, 1456 + 1500)
    footprints.end(work(1))
    assert sums(footprints) == (1000, 1500)


def test_a_prompt_without_a_first_token_is_not_counted_twice_where_the_engine_counts_it_in():
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, 1.0, output_tokens=500)
    footprints.add(work(2), 4000, 4100, 1.0, output_tokens=100)
    footprints.agree(Snapshot(8, [work(1)], [work(2)], running_tokens=1200 + 4000), [])
    assert sums(footprints) == (4000, 1500 + 4100)


@pytest.mark.parametrize("running_tokens", [0, 1000, 1300, 1500], ids=["tells nothing", "begins", "goes on", "ends"])
def test_a_prediction_that_the_engine_does_not_gainsay_stays(running_tokens: int):
    footprints = Footprints()
    footprints.add(work(1), 1000, 1500, 1.0, output_tokens=500)
    footprints.agree(Snapshot(8, [work(1)], running_tokens=running_tokens), [])
    assert sums(footprints) == (0, 1500)


WORKS = st.integers(0, 5).map(work)
STEPS = st.one_of(
    st.tuples(st.just("add"), WORKS, st.integers(0, 500), st.integers(500, 900)),
    st.tuples(st.just("start"), WORKS),
    st.tuples(st.just("end"), WORKS),
    st.tuples(st.just("agree"), st.sets(WORKS), st.sets(WORKS), st.sets(WORKS), st.sampled_from([0, 1, 900, 10**6])),
)


@given(st.lists(STEPS, max_size=40))
def test_the_sums_never_go_below_nought_and_are_nought_when_nothing_is_left(steps):
    footprints = Footprints()
    for step in steps:
        match step:
            case "add", key, prefill, kv:
                footprints.add(key, prefill, kv, 1.0, output_tokens=kv - prefill)
            case "start", key:
                footprints.start(key, 2.0)
            case "end", key:
                footprints.end(key)
            case "agree", running, waiting, unreported, tokens:
                told = Snapshot(9, sorted(running, key=str), sorted(waiting - running, key=str), tokens, 300)
                footprints.agree(told, unreported)
        assert footprints.prefill_tokens >= 0
        assert footprints.kv_tokens >= footprints.prefill_tokens
    footprints.agree(Snapshot(9), [])
    assert (len(footprints), *sums(footprints)) == (0, 0, 0)
