"""The scorer `topology`."""

import msgspec
import pytest

from matrixinfer.handlers.dispatch.scheduling.scorers.topology import Topology, TopologyParameters
from support.scheduling import a_pod, a_request, an_ask

PLACES = [("z1", "r1", "n1"), ("z1", "r1", "n2"), ("z1", "r2", "n1"), ("z2", "r1", "n1"), ()]
PODS = [a_pod(f"p{index}", topology=place) for index, place in enumerate(PLACES)]


def test_the_more_leading_places_are_common_the_better():
    ask = an_ask(PODS, a_request(near=("z1", "r1", "n1")))
    assert Topology(TopologyParameters()).score(ask) == [1.0, 0.2, 0.05, 0.02, 0.02]


def test_the_last_weight_stands_for_all_that_is_nearer():
    ask = an_ask(PODS, a_request(near=("z1", "r1", "n1")))
    assert Topology(TopologyParameters(weights=(0.0, 1.0))).score(ask) == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_a_request_from_nowhere_is_near_to_all():
    assert Topology(TopologyParameters()).score(an_ask(PODS)) == [1.0] * len(PODS)


@pytest.mark.parametrize("weights", [[], [0.5, 0.1], [0.5, 2.0]])
def test_weights_that_are_none_or_fall_or_leave_the_range_are_refused(weights: list[float]):
    with pytest.raises(msgspec.ValidationError, match="weights"):
        msgspec.convert({"weights": weights}, TopologyParameters)
