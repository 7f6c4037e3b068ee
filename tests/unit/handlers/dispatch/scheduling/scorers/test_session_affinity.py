"""The scorer `session_affinity`."""

from matrixinfer.handlers.dispatch.scheduling.scorers.session_affinity import (
    SessionAffinity,
    SessionAffinityParameters,
)
from support.scheduling import NOW, a_pod, a_request, an_ask

A, B = a_pod("a"), a_pod("b")
CHAT = a_request(session="chat")


def a_scorer(**parameters: float) -> SessionAffinity:
    scorer = SessionAffinity(SessionAffinityParameters(**parameters))  # type: ignore[arg-type]
    scorer.placed(CHAT, B, NOW)
    return scorer


def test_a_session_is_drawn_to_the_pod_of_its_last_request():
    scorer = a_scorer()
    assert scorer.score(an_ask([A, B], CHAT)) == [0.0, 1.0]
    assert scorer.wanted(CHAT, [A, B], NOW) == ("b",)
    scorer.placed(CHAT, A, NOW + 1)
    assert scorer.score(an_ask([A, B], CHAT)) == [1.0, 0.0]


def test_other_sessions_other_tenants_and_requests_without_one_are_drawn_nowhere():
    scorer = a_scorer()
    for request in (a_request(session="other"), a_request(session="chat", tenant="u"), a_request()):
        assert scorer.score(an_ask([A, B], request)) == [1.0, 1.0]
        assert scorer.wanted(request, [A, B], NOW) == ()


def test_a_session_that_rested_too_long_begins_anew():
    scorer = a_scorer(keep_s=60.0)
    assert scorer.score(an_ask([A, B], CHAT, now=NOW + 60)) == [0.0, 1.0]
    assert scorer.score(an_ask([A, B], CHAT, now=NOW + 61)) == [1.0, 1.0]


def test_of_too_many_sessions_the_one_that_rested_longest_is_forgotten():
    scorer = a_scorer(sessions=2)
    scorer.placed(a_request(session="second"), A, NOW)
    scorer.placed(CHAT, B, NOW)
    scorer.placed(a_request(session="third"), A, NOW)
    assert scorer.wanted(CHAT, [A, B], NOW) == ("b",)
    assert scorer.wanted(a_request(session="second"), [A, B], NOW) == ()
    scorer.placed(a_request(), A, NOW)
    assert scorer.wanted(CHAT, [A, B], NOW) == ("b",)
