"""The scorer `prefix_cache`."""

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.prefix_cache import PrefixCache
from support.scheduling import a_pod, a_request, an_ask

PODS = [a_pod("a"), a_pod("b"), a_pod("c")]


def test_the_score_is_the_share_of_the_prompt_that_was_sent_there_whatever_the_engine_says():
    ask = an_ask(PODS, a_request(1000), approximate_tokens=[0, 250, 1000], exact_tokens=[1000, 0, None])
    assert PrefixCache(NoParameters()).score(ask) == [0.0, 0.25, 1.0]


def test_an_empty_prompt_is_cached_nowhere():
    assert PrefixCache(NoParameters()).score(an_ask(PODS, a_request(0))) == [0.0, 0.0, 0.0]
