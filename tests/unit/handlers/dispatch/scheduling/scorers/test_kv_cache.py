"""The scorer `kv_cache`."""

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.kv_cache import KvCache
from support.scheduling import a_pod, a_request, an_ask

PODS = [a_pod("a"), a_pod("b"), a_pod("c")]


def test_the_score_is_the_share_of_the_prompt_that_the_engine_told_of_and_its_silence_is_nothing():
    ask = an_ask(PODS, a_request(1000), exact_tokens=[0, 250, None], approximate_tokens=[1000, 1000, 1000])
    assert KvCache(NoParameters()).score(ask) == [0.0, 0.25, 0.0]


def test_an_empty_prompt_is_cached_nowhere():
    assert KvCache(NoParameters()).score(an_ask(PODS, a_request(0))) == [0.0, 0.0, 0.0]
