"""The picker `max_score`."""

from random import Random

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.pickers.max_score import MaxScore
from support.scheduling import a_pod, an_ask

PICKER = MaxScore(NoParameters())
ASK = an_ask([a_pod("a"), a_pod("b"), a_pod("c")])


def test_the_best_wins():
    assert {PICKER.pick(ASK, [0.2, 0.9, 0.8], Random(seed)) for seed in range(20)} == {1}


def test_among_equals_chance_decides_and_rounding_makes_no_difference():
    assert {PICKER.pick(ASK, [0.3, 0.2, 0.1 + 0.2], Random(seed)) for seed in range(20)} == {0, 2}
