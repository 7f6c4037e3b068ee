"""llm-d's "sticky until saturated" (llm-d-router, 2026): affinity as a filter that breaks when its pods are saturated.

    holders = pods whose match is at least 0.8 of the prompt, by the router's approximate index
    kept    = holders with (uncached tokens in flight) / R_peak <= T_max; none: all pods
    choice  = min over kept of  uncached tokens in flight + prompt x (1 - match)

R_peak = 15,928 tokens/s and T_max = 18 s are the release's defaults. Tokens count as in flight from sending to the
first token. The index is recorded as a request is sent, and remembers the two million tokens last sent to each pod.
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.simulate.baselines.prefixes import PrefixIndex
from matrixinfer.simulate.immediate import Balancer, Gateway
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.workload import BLOCK_TOKENS, Arrival

MATCH = 0.8
PEAK_TOKENS_PER_S = 15_928.0
LONGEST_PREFILL_S = 18.0
INDEX_TOKENS = 2_000_000


class LlmdSticky(Balancer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._indices = range(len(gateway.pods))
        self._index = PrefixIndex(len(gateway.pods), INDEX_TOKENS // BLOCK_TOKENS)
        self._uncached = [0] * len(gateway.pods)
        self._charged: dict[str, int] = {}

    def choose(self, arrival: Arrival, now: float) -> int:
        matches = self._index.matches(arrival.blocks)
        kept = self._unsaturated_holders(arrival, matches) or self._indices
        loads = [self._uncached[pod] + self._own(arrival, matches.get(pod, 0)) for pod in kept]
        least = min(loads)
        pod = self._gateway.any_of([pod for pod, load in zip(kept, loads, strict=True) if load == least])
        self._charged[arrival.rid] = self._own(arrival, matches.get(pod, 0))
        self._uncached[pod] += self._charged[arrival.rid]
        self._index.record(pod, arrival.blocks)
        return pod

    def started(self, life: Life, now: float) -> None:
        self._uncached[life.pod] -= self._charged.pop(life.arrival.rid)

    def left(self, arrival: Arrival, pod: int) -> None:
        self._uncached[pod] -= self._charged.pop(arrival.rid)

    def _unsaturated_holders(self, arrival: Arrival, matches: dict[int, int]) -> Sequence[int]:
        limit = LONGEST_PREFILL_S * PEAK_TOKENS_PER_S
        enough = MATCH * arrival.prompt_tokens
        return [
            pod for pod, depth in matches.items() if depth * BLOCK_TOKENS >= enough and self._uncached[pod] <= limit
        ]

    @staticmethod
    def _own(arrival: Arrival, depth: int) -> int:
        return arrival.prompt_tokens - depth * BLOCK_TOKENS
