"""On virtual time, too, the index learns what the caches hold by events, ten times a second and a bus delay late."""

from __future__ import annotations

from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.simulate.cache_news import BUS_DELAY_S, CacheNews
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.pods import H100_7B, SimulatedPod
from support.simulation import arrival

SMALL = H100_7B.model_copy(update={"kv_capacity_tokens": 256 * 12})
ASKED = [arrival(f"r{number}", prefix="shared", prefix_blocks=2, own=700, output=2) for number in range(6)]


def computed(pod: SimulatedPod, number: int, now: float) -> float:
    """Returns when it was done."""
    pod.submit(Life(ASKED[number]), now)
    while (next_at := pod.model.next_at()) is not None:
        now = next_at
        pod.advance(now)
    return now


def tokens_of(pod: SimulatedPod, number: int) -> int:
    return pod.model.cache.hit(ASKED[number].blocks) * 256


def test_every_pod_is_known_from_the_beginning() -> None:
    pods, caches = [SimulatedPod(index, SMALL) for index in range(3)], ToldCaches(4096, pace_s=0.0)
    CacheNews(pods, caches, "boot")
    assert all(caches.knows(pod.name) for pod in pods)


def test_what_was_computed_is_known_when_it_was_told_and_not_before() -> None:
    pod, caches = SimulatedPod(0, SMALL), ToldCaches(4096, pace_s=0.0)
    news = CacheNews([pod], caches, "boot")
    now, hashes = computed(pod, 0, 0.0), b"".join(ASKED[0].blocks)
    news.deliver(now)
    assert caches.matches(hashes) == {}
    news.tell(now)
    news.deliver(now + BUS_DELAY_S / 2)
    assert caches.matches(hashes) == {}
    news.deliver(now + BUS_DELAY_S)
    assert caches.matches(hashes) == {"pod-0": tokens_of(pod, 0)}


def test_what_was_evicted_is_known_to_be_gone() -> None:
    pod, caches = SimulatedPod(0, SMALL), ToldCaches(4096, pace_s=0.0)
    news = CacheNews([pod], caches, "boot")
    now = 0.0
    for number in range(len(ASKED)):
        now = computed(pod, number, now)
        news.tell(now)
        news.deliver(now + BUS_DELAY_S)
        told = [caches.cached_tokens("pod-0", b"".join(asked.blocks)) for asked in ASKED]
        assert told == [tokens_of(pod, each) for each in range(len(ASKED))]
    assert tokens_of(pod, 0) < 4 * 256, "some of the first prompt had to go"
