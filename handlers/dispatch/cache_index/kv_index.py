"""The exact index of one pool: which pod holds which blocks in which tier, by what the engines themselves say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from matrixinfer.bus.block_hashes import BLOCK_TOKENS
from matrixinfer.bus.contracts.cache import Tier
from matrixinfer.handlers.dispatch.cache_index.block_table import BlockTable
from matrixinfer.handlers.dispatch.cache_index.holder_sets import TIERS, Holders, HolderSets, Step
from matrixinfer.handlers.dispatch.cache_index.longest_run import in_a_row, longest_runs
from matrixinfer.handlers.dispatch.cache_index.pod_bits import PodBits


class TierWeights(NamedTuple):
    """What a cached token is worth in each tier, in [0, 1]: 1 costs nothing to use, 0 is as good as not cached."""

    gpu: float = 1.0
    cpu: float = 0.8
    disk: float = 0.5


DEFAULT_WEIGHTS = TierWeights()
_UNWEIGHTED = TierWeights(1.0, 1.0, 1.0)


@dataclass
class _Cleaning:
    """A pass over the whole table, some segments a call."""

    bits: int
    step: Step
    next_segment: int = 0


class KvIndex:
    """At most `capacity_blocks` blocks, of about 20 bytes each, and `capacity_sets` sets of holders, of some 300.

    Hashes are chained and hold the adapter (`bus.block_hashes`), so all adapters share the index. Where it is full, it
    claims less than there is: blocks that it does not know are refused, and so are holders beyond the last set. A pod
    that was cleared or dropped is out of every answer at once; its old bit is cleaned out of the table by `clean`.
    """

    def __init__(
        self,
        capacity_blocks: int = 8_000_000,
        capacity_sets: int = 250_000,
        weights: TierWeights = DEFAULT_WEIGHTS,
    ) -> None:
        self.weights = weights
        """May be changed at any time."""
        self._table = BlockTable(capacity_blocks)
        self._sets = HolderSets(capacity_sets)
        self._pods = PodBits()
        self._cleaning: _Cleaning | None = None

    def __len__(self) -> int:
        """Blocks known, those that only pods held which are gone among them, until they are cleaned."""
        return len(self._table)

    @property
    def refused_blocks(self) -> int:
        """How many blocks were refused because the index was full, ever."""
        return self._table.refused_blocks

    @property
    def size_bytes(self) -> int:
        """Of the table; what sets of holders take comes on top."""
        return self._table.size_bytes

    def stored(self, pod: str, hashes: bytes, tier: Tier = "gpu") -> None:
        """The pod has these blocks (8 bytes each) in `tier` now. A pod that was not known is known by this."""
        self._table.change(hashes, self._sets.storing(self._pods.bit_of(pod), TIERS.index(tier)))

    def removed(self, pod: str, hashes: bytes, tier: Tier = "gpu") -> None:
        """The pod has these blocks in `tier` no more."""
        if pod in self._pods:
            self._table.change(hashes, self._sets.removing(self._pods.bit_of(pod), TIERS.index(tier)))

    def cleared(self, pod: str) -> None:
        """The pod has nothing now. Takes no time: it only gets another bit, when it stores again."""
        self._pods.retire(pod)

    def dropped(self, pod: str) -> None:
        """The pod is gone. To the index that is the same as an empty one."""
        self._pods.retire(pod)

    def matches(self, hashes: bytes) -> dict[str, float]:
        """For each pod that has the prompt's first block: tokens of its longest run from there, weighted by tier."""
        scores: dict[str, float] = {}
        for pods, weighted_blocks in longest_runs(self._pods.live, self._steps(hashes), self.weights):
            tokens = weighted_blocks * BLOCK_TOKENS
            scores |= dict.fromkeys(self._pods.names_of(pods), tokens)
        return scores

    def cached_tokens(self, pod: str, hashes: bytes) -> int:
        """The longest run of this pod in tokens, whatever the tiers: what its engine should report as cached."""
        if pod not in self._pods:
            return 0
        runs = longest_runs(self._pods.bit_of(pod), self._steps(hashes), _UNWEIGHTED)
        return sum(int(blocks) for _, blocks in runs) * BLOCK_TOKENS

    def clean(self, segments: int = 16) -> bool:
        """Clean some of what pods that are gone left behind, so many segments at most (of some 4,000 in all).

        To be called about 10 times a second. A segment takes 0.1 ms, or 4 where nearly all of it goes. True: there is
        more to clean.
        """
        if self._cleaning is None:
            if not self._pods.retired and not self._sets.is_census_due():
                return False
            self._cleaning = _Cleaning(self._pods.retired, self._sets.begin_census(self._pods.retired))
        cleaning = self._cleaning
        end = min(cleaning.next_segment + segments, self._table.segments)
        for number in range(cleaning.next_segment, end):
            self._table.sweep(number, cleaning.step)
        cleaning.next_segment = end
        if end == self._table.segments:
            self._sets.end_census()
            self._pods.free(cleaning.bits)
            self._cleaning = None
        return self._cleaning is not None or bool(self._pods.retired)

    def _steps(self, hashes: bytes) -> list[tuple[Holders, int]]:
        """The known beginning of a chain: holders, and how many blocks in a row have just these."""
        sets = self._sets.by_number
        return [(sets[number], count) for number, count in in_a_row(self._table.find(hashes))]
