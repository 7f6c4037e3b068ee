"""The scorer `least_requests`."""

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.least_requests import LeastRequests
from support.scheduling import a_pod, an_ask


def test_the_score_is_the_free_share_of_the_slots():
    pods = [a_pod("idle"), a_pod("half", used=4), a_pod("full", used=8), a_pod("over", used=9), a_pod("new", slots=0)]
    assert LeastRequests(NoParameters()).score(an_ask(pods)) == [1.0, 0.5, 0.0, 0.0, 0.0]
