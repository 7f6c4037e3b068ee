"""The time to a first token, learned: it finds the line, starts from the pool's, and goes back there."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.learned_line import HALF_LIFE_S
from matrixinfer.handlers.dispatch.prefill_model import GUESS_FIXED_S, GUESS_TOKENS_PER_S, Guess, PrefillModel


def taught(
    fixed_s: float, tokens_per_s: float, above: PrefillModel | None = None, *, now: float = 100.0
) -> PrefillModel:
    model, rng = PrefillModel(above or Guess()), Random(1)
    for _ in range(2000):
        tokens = rng.randrange(0, 20_000)
        model.observe(tokens, fixed_s + tokens / tokens_per_s, now)
    return model


def test_without_a_sample_it_guesses():
    assert PrefillModel(Guess()).seconds(10_000, 0.0) == pytest.approx(GUESS_FIXED_S + 10_000 / GUESS_TOKENS_PER_S)


@pytest.mark.parametrize(("fixed_s", "tokens_per_s"), [(0.01, 30_000), (0.2, 2_000), (0.0, 8_000)])
def test_it_finds_the_line_of_what_it_saw(fixed_s: float, tokens_per_s: float):
    model = taught(fixed_s, tokens_per_s)
    for tokens in (500, 4_000, 30_000):
        assert model.seconds(tokens, 100.0) == pytest.approx(fixed_s + tokens / tokens_per_s, rel=0.1, abs=0.01)


def test_a_new_pod_believes_what_its_pool_learned():
    pool = taught(0.05, 25_000)
    assert PrefillModel(pool).seconds(8_000, 100.0) == pytest.approx(pool.seconds(8_000, 100.0))


def test_a_pod_that_was_slow_and_gets_nothing_drifts_back_to_its_pool():
    pool = taught(0.05, 25_000)
    slow = taught(2.0, 1_000, pool)
    assert slow.seconds(8_000, 100.0) > 5.0
    later = 100.0 + 30 * HALF_LIFE_S
    assert slow.seconds(8_000, later) == pytest.approx(pool.seconds(8_000, later), rel=0.01)


@given(st.lists(st.tuples(st.integers(0, 200_000), st.floats(0, 600), st.floats(0, 60)), max_size=30))
def test_more_tokens_never_take_less_time_and_no_time_is_negative(samples):
    model, now = PrefillModel(Guess()), 0.0
    for tokens, seconds, passed_s in samples:
        now += passed_s
        model.observe(tokens, seconds, now)
    times = [model.seconds(tokens, now) for tokens in (0, 1, 1_000, 100_000)]
    assert times == sorted(times)
    assert times[0] >= 0
