"""The picker `weighted_random`."""

import math
from collections import Counter
from random import Random

import pytest

from matrixinfer.handlers.dispatch.scheduling.pickers.weighted_random import WeightedRandom, WeightedRandomParameters
from support.scheduling import a_pod, an_ask

ASK = an_ask([a_pod("a"), a_pod("b")])


def share_of_the_better(temperature: float) -> float:
    picker, rng = WeightedRandom(WeightedRandomParameters(temperature)), Random(1)
    picks = Counter(picker.pick(ASK, [0.5, 0.6], rng) for _ in range(4000))
    return picks[1] / 4000


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_a_total_lower_by_the_temperature_is_e_times_less_likely(temperature: float):
    ratio = math.exp(0.1 / temperature)
    assert share_of_the_better(temperature) == pytest.approx(ratio / (1 + ratio), abs=0.03)


def test_towards_zero_the_best_always_wins():
    assert share_of_the_better(1e-6) == 1.0


def test_a_draw_that_rounding_puts_behind_the_last_one_is_the_last_one():
    class Highest(Random):
        def random(self) -> float:
            return 1.0

    assert WeightedRandom(WeightedRandomParameters()).pick(ASK, [0.5, 0.5], Highest()) == 1
