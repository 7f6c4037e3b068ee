"""Kthena's two prefix scores, and the profiles that use them.

    prefix-cache    blocks of 64 bytes, at most 128 of them (8 KB, about 2,048 tokens); 100 x matched / all of
                    these; the best five pods only; 50,000 blocks remembered for each pod; learned when the
                    whole response has ended
    kvcache-aware   the same share of blocks of 16 tokens, at most 128, of what the engines hold by their events

64 bytes are 16 tokens of four bytes, so our 256-token block is 16 of either kind, and a match is known to 16 of them.
The index of the engines' events is taken as exact and without delay, which flatters the second.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from matrixinfer.simulate.baselines.kthena import Kthena, gpu_usage, least_latency
from matrixinfer.simulate.baselines.prefixes import PrefixIndex
from matrixinfer.simulate.immediate import Gateway
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.workload import BLOCK_TOKENS, Arrival

TOKENS_PER_BLOCK = 16
MAX_BLOCKS = 128
TOP_PODS = 5
REMEMBERED_BLOCKS = 50_000

_OF_OURS = BLOCK_TOKENS // TOKENS_PER_BLOCK
_HEAD = MAX_BLOCKS // _OF_OURS


def default_profile(gateway: Gateway) -> Kthena:
    """least-request, gpu-usage, least-latency and prefix-cache: the Helm chart's values."""
    return Kthena(gateway, [gpu_usage, least_latency], PrefixCacheScore(len(gateway.pods)))


def kv_aware_profile(gateway: Gateway) -> Kthena:
    """least-request and kvcache-aware: the best row of the published benchmark."""
    return Kthena(gateway, [], KvCacheAwareScore(gateway))


class PrefixCacheScore:
    """What the router remembers of the prompts it proxied."""

    def __init__(self, pods: int) -> None:
        self._index = PrefixIndex(pods, REMEMBERED_BLOCKS // _OF_OURS)

    def score(self, arrival: Arrival, candidates: Sequence[int]) -> dict[int, float]:
        matches = self._index.matches(arrival.blocks[:_HEAD])
        known = set(candidates)
        best = heapq.nlargest(TOP_PODS, [pod for pod in matches if pod in known], key=matches.__getitem__)
        return {pod: _share(matches[pod], arrival) for pod in best}

    def learn(self, life: Life) -> None:
        self._index.record(life.pod, life.arrival.blocks[:_HEAD])


class KvCacheAwareScore:
    """What the engines say that they hold."""

    def __init__(self, gateway: Gateway) -> None:
        self._caches = [pod.model.cache for pod in gateway.pods]

    def score(self, arrival: Arrival, candidates: Sequence[int]) -> dict[int, float]:
        head = arrival.blocks[:_HEAD]
        return {pod: _share(hit, arrival) for pod in candidates if (hit := self._caches[pod].hit(head))}

    def learn(self, life: Life) -> None:
        """The engines' events have said it before."""


def _share(matched: int, arrival: Arrival) -> float:
    blocks = min(MAX_BLOCKS, -(-arrival.prompt_tokens // TOKENS_PER_BLOCK))
    return 100.0 * min(blocks, matched * _OF_OURS) / blocks
