"""Of many pods, those that must not be missed, the least loaded, and a few by chance."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.candidates import candidates
from support.scheduling import a_pod

MANY = [a_pod(f"p{index}", used=index % 8) for index in range(256)]
BUSIEST = [pod for pod in MANY if pod.used == 7]


def names(pods: list[Pod]) -> set[str]:
    return {pod.name for pod in pods}


def chosen(cached: dict[str, int] | None = None, wanted: set[str] | None = None, seed: int = 1) -> list[Pod]:
    return list(candidates(MANY, cached or {}, wanted or set(), 32, Random(seed)))


held = st.dictionaries(st.sampled_from([f"p{index}" for index in range(60)]), st.integers(1, 9), max_size=50)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 50), st.integers(1, 40), held, st.sets(st.sampled_from([f"p{i}" for i in range(60)])), st.integers()
)
def test_candidates_are_pods_that_were_there_each_once_and_as_many_as_there_may_be(count, limit, cached, wanted, seed):
    pods = MANY[:count]
    found = candidates(pods, cached, wanted, limit, Random(seed))
    assert len(found) == min(count, limit) == len(names(list(found)))
    assert names(list(found)) <= names(pods)


def test_few_pods_are_all_looked_at():
    assert candidates(MANY[:32], {}, set(), 32, Random(1)) == MANY[:32]


def test_the_longest_holders_are_among_them_however_loaded():
    cached = {pod.name: 256 for pod in MANY} | {pod.name: 4096 for pod in BUSIEST[:8]}
    assert names(BUSIEST[:8]) <= names(chosen(cached))


def test_no_more_than_a_quarter_are_holders_so_that_idle_pods_are_seen_too():
    cached = {pod.name: 4096 for pod in BUSIEST}
    found = chosen(cached)
    assert 8 <= sum(pod in BUSIEST for pod in found) <= 8 + 4
    assert sum(pod.used == 0 for pod in found) >= 20


def test_holders_without_room_do_not_hide_those_that_have_some():
    cached = {f"full-{index}": 8192 for index in range(24)} | {pod.name: 256 for pod in BUSIEST[:8]}
    assert names(BUSIEST[:8]) <= names(chosen(cached))


def test_the_wanted_are_among_them():
    wanted = {BUSIEST[0].name, BUSIEST[1].name, "not-there"}
    assert wanted - {"not-there"} <= names(chosen(wanted=wanted))


def test_the_rest_is_the_least_loaded_and_a_few_by_chance():
    found = chosen()
    assert sum(pod.used == 0 for pod in found) >= 28


def test_over_time_every_pod_is_looked_at_also_of_many_equals():
    seen = Counter(pod.name for seed in range(1000) for pod in chosen(seed=seed))
    assert seen.keys() == names(MANY)
    idle = [seen[pod.name] for pod in MANY if pod.used == 0]
    assert max(idle) < 2 * min(idle)
