"""The scorer `bounded_hash`, by the laws of the paper: few keys move, and nobody is far above the mean."""

import math
from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.scorers import bounded_hash
from matrixinfer.handlers.dispatch.scheduling.scorers.bounded_hash import BoundedHash, BoundedHashParameters
from support.scheduling import NOW, a_pod, a_request, an_ask

NAMES = [f"pod-{index}" for index in range(12)]
SESSIONS = [a_request(session=f"s{index}") for index in range(300)]


def a_scorer(bound: float = 1.25) -> BoundedHash:
    return BoundedHash(BoundedHashParameters(bound=bound))


def idle(names: list[str]) -> list[Pod]:
    return [a_pod(name) for name in names]


def owner(scorer: BoundedHash, request: Request, pods: list[Pod]) -> str:
    scores = scorer.score(an_ask(pods, request))
    (best,) = [pod.name for pod, score in zip(pods, scores, strict=True) if score == 1.0]
    return best


@settings(deadline=None, max_examples=50)
@given(st.sets(st.sampled_from(NAMES), min_size=2), st.randoms(use_true_random=False))
def test_only_the_keys_of_a_lost_pod_move_and_nothing_depends_on_order_or_history(names: set[str], random: Random):
    lost = random.choice(sorted(names))
    shuffled = sorted(names)
    random.shuffle(shuffled)
    before = {request.session: owner(a_scorer(), request, idle(sorted(names))) for request in SESSIONS[:10]}
    scorer = a_scorer()
    assert before == {request.session: owner(scorer, request, idle(shuffled)) for request in SESSIONS[:10]}
    after = {request.session: owner(scorer, request, idle(sorted(names - {lost}))) for request in SESSIONS[:10]}
    assert {key for key in before if before[key] != after[key]} == {key for key in before if before[key] == lost}


def test_no_pod_gets_more_than_the_bound_times_the_mean_however_hot_a_key_is():
    scorer, used, hot = a_scorer(), Counter[str](), a_request(session="hot")
    for count in range(1, 121):
        pods = [a_pod(name, used=used[name], slots=1000) for name in NAMES]
        used[owner(scorer, hot, pods)] += 1
        assert max(used.values()) <= math.ceil(1.25 * count / len(NAMES))


def test_keys_spread_over_the_pods():
    scorer, pods = a_scorer(), idle(NAMES)
    counts = Counter(owner(scorer, request, pods) for request in SESSIONS)
    assert len(counts) == len(NAMES)
    assert max(counts.values()) < 3 * len(SESSIONS) / len(NAMES)


def test_without_a_session_the_first_block_is_the_key_and_without_both_all_are_equal():
    scorer, pods = a_scorer(), idle(NAMES)
    first, same = a_request(block_hashes=b"12345678" + b"x" * 8), a_request(block_hashes=b"12345678" + b"y" * 8)
    assert owner(scorer, first, pods) == owner(scorer, same, pods)
    assert scorer.score(an_ask(pods, a_request())) == [1.0] * len(pods)
    assert scorer.wanted(a_request(), pods, NOW) == ()


def test_the_owner_is_wanted_among_the_candidates_and_an_adapter_has_its_own():
    scorer, pods = a_scorer(), idle(NAMES)
    assert scorer.wanted(SESSIONS[0], pods, NOW) == (owner(scorer, SESSIONS[0], pods),)
    owners = {owner(scorer, a_request(session="s", adapter=f"a{index}"), pods) for index in range(20)}
    assert len(owners) > 1


def test_when_all_candidates_are_above_the_bound_the_first_one_stays_the_owner():
    scorer, busy = a_scorer(), [a_pod(name, used=8) for name in NAMES[:2]]
    everyone = [*busy, *idle(NAMES[2:])]
    ask = an_ask(busy, SESSIONS[0])._replace(everyone=everyone)
    assert sorted(scorer.score(ask)) == [0.0, 1.0]


def test_the_ring_forgets_pods_that_are_long_gone(monkeypatch):
    monkeypatch.setattr(bounded_hash, "_MOST_NAMES", 10)
    ring = bounded_hash.Ring(points=4)
    for generation in range(20):
        ring.hold({f"pod-{generation}-{index}" for index in range(3)})
        assert len(set(ring.clockwise(b"key"))) <= 10
    assert {f"pod-19-{index}" for index in range(3)} <= set(ring.clockwise(b"key"))


def test_a_pool_of_more_pods_than_are_kept_is_on_the_ring_as_a_whole():
    ring, names = bounded_hash.Ring(points=1), {f"pod-{index}" for index in range(5000)}
    ring.hold(names)
    assert set(ring.clockwise(b"key")) == names
