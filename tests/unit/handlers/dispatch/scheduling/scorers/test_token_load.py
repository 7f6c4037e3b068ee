"""The scorer `token_load`."""

from matrixinfer.handlers.dispatch.scheduling.scorers.token_load import TokenLoad, TokenLoadParameters
from support.scheduling import a_pod, an_ask


def test_so_many_tokens_as_the_half_score_one_half_however_many_requests_they_are():
    pods = [a_pod("idle"), a_pod("long", used=1, kv_tokens=1000), a_pod("many", used=7, kv_tokens=1000)]
    assert TokenLoad(TokenLoadParameters(half_tokens=1000)).score(an_ask(pods)) == [1.0, 0.5, 0.5]


def test_fewer_tokens_are_always_better():
    pods = [a_pod(str(tokens), kv_tokens=tokens) for tokens in (0, 10, 10_000, 10_000_000)]
    scores = TokenLoad(TokenLoadParameters()).score(an_ask(pods))
    assert sorted(set(scores), reverse=True) == scores
