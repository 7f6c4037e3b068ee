"""SGLang's cache-aware router (sgl-router, policy `cache_aware`, defaults of SGLang's own release).

    imbalanced = max - min > 64 and max > 1.5 x min      (requests under way of the fullest and the emptiest pod)
    imbalanced:            the pod with the fewest requests
    matched / prompt > .5: the pod that was sent the longest prefix, by the router's own tree
    else:                  the pod with the smallest tree

The tree is recorded as a request is sent, and knows nothing of evictions. The router's tree is of characters, and
bounded by 2^24 of them for each pod: here of 256-token blocks of four characters a token.
"""

from __future__ import annotations

from matrixinfer.simulate.baselines.prefixes import PrefixIndex
from matrixinfer.simulate.immediate import Balancer, Gateway
from matrixinfer.simulate.workload import BLOCK_TOKENS, Arrival

ABSOLUTE_IMBALANCE = 64
RELATIVE_IMBALANCE = 1.5
MATCH_THRESHOLD = 0.5
TREE_CHARACTERS = 2**24
CHARACTERS_PER_TOKEN = 4


class SglangCacheAware(Balancer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._indices = range(len(gateway.pods))
        self._tree = PrefixIndex(len(gateway.pods), TREE_CHARACTERS // (BLOCK_TOKENS * CHARACTERS_PER_TOKEN))

    def choose(self, arrival: Arrival, now: float) -> int:
        pod = self._gateway.least_loaded() if self._is_imbalanced() else self._by_tree(arrival)
        self._tree.record(pod, arrival.blocks)
        return pod

    def _is_imbalanced(self) -> bool:
        most, least = max(self._gateway.in_flight), min(self._gateway.in_flight)
        return most - least > ABSOLUTE_IMBALANCE and most > RELATIVE_IMBALANCE * least

    def _by_tree(self, arrival: Arrival) -> int:
        matches = self._tree.matches(arrival.blocks)
        longest = max(matches.values(), default=0)
        if longest * BLOCK_TOKENS > MATCH_THRESHOLD * arrival.prompt_tokens:
            return self._gateway.any_of([pod for pod, depth in matches.items() if depth == longest])
        sizes = [self._tree.size(pod) for pod in self._indices]
        smallest = min(sizes)
        return self._gateway.any_of([pod for pod in self._indices if sizes[pod] == smallest])
