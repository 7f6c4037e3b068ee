"""The picker `power_of_two`."""

from collections import Counter
from random import Random

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.pickers.power_of_two import PowerOfTwo
from support.scheduling import a_pod, an_ask

PICKER = PowerOfTwo(NoParameters())
ASK = an_ask([a_pod(name) for name in "abcd"])


def test_the_better_of_two_wins_so_the_worst_never_does():
    rng = Random(1)
    picks = Counter(PICKER.pick(ASK, [0.1, 0.2, 0.3, 0.4], rng) for _ in range(3000))
    assert [index for index, _ in picks.most_common()] == [3, 2, 1]


def test_one_candidate_is_enough():
    assert PICKER.pick(an_ask([a_pod("a")]), [0.0], Random(1)) == 0


def test_among_equals_chance_decides():
    assert {PICKER.pick(ASK, [0.5] * 4, Random(seed)) for seed in range(50)} == {0, 1, 2, 3}
