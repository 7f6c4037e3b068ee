"""The index that everybody would write first: a dictionary of sets. The exact index must say the same."""

from __future__ import annotations

from collections import defaultdict

from matrixinfer.bus.block_hashes import BLOCK_TOKENS, HASH_BYTES
from matrixinfer.handlers.dispatch.cache_index.kv_index import DEFAULT_WEIGHTS, TierWeights


class NaiveIndex:
    def __init__(self) -> None:
        self.holders: dict[bytes, set[tuple[str, str]]] = {}

    def __len__(self) -> int:
        return len(self.holders)

    def stored(self, pod: str, hashes: bytes, tier: str = "gpu") -> None:
        for block in split(hashes):
            self.holders.setdefault(block, set()).add((pod, tier))

    def removed(self, pod: str, hashes: bytes, tier: str = "gpu") -> None:
        for block in split(hashes):
            self._discard(block, {(pod, tier)})

    def cleared(self, pod: str) -> None:
        for block in list(self.holders):
            self._discard(block, {(pod, tier) for tier in TierWeights._fields})

    dropped = cleared

    def matches(self, hashes: bytes, weights: TierWeights = DEFAULT_WEIGHTS) -> dict[str, float]:
        scores: dict[str, float] = defaultdict(float)
        running: set[str] | None = None
        for block in split(hashes):
            best: dict[str, float] = defaultdict(float)
            for pod, tier in self.holders.get(block, ()):
                best[pod] = max(best[pod], getattr(weights, tier))
            running = best.keys() & (best.keys() if running is None else running)
            for pod in running:
                scores[pod] += best[pod] * BLOCK_TOKENS
        return dict(scores)

    def _discard(self, block: bytes, gone: set[tuple[str, str]]) -> None:
        left = self.holders.get(block, set()) - gone
        if left:
            self.holders[block] = left
        else:
            self.holders.pop(block, None)


def split(hashes: bytes) -> list[bytes]:
    return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]
