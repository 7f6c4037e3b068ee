"""An approximate prefix index: which pods were sent which prompt blocks, as far as the gateway remembers.

Nobody tells it what an engine has evicted. Each pod's memory is bounded, the longest unused block goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence


class PrefixIndex:
    """Pods are indices; sets of them are bits of an int."""

    def __init__(self, pods: int, blocks_per_pod: int) -> None:
        self._limit = blocks_per_pod
        self._holders: dict[bytes, int] = {}
        self._used: list[OrderedDict[bytes, None]] = [OrderedDict() for _ in range(pods)]

    def record(self, pod: int, blocks: Sequence[bytes]) -> None:
        """The pod has these from now on. A prompt's end is forgotten before its beginning, which helps more others."""
        used, bit = self._used[pod], 1 << pod
        for block in reversed(blocks):
            if block in used:
                used.move_to_end(block)
            else:
                used[block] = None
                self._holders[block] = self._holders.get(block, 0) | bit
        while len(used) > self._limit:
            self._forget(used.popitem(last=False)[0], bit)

    def matches(self, blocks: Sequence[bytes]) -> dict[int, int]:
        """Pod → how many blocks from the beginning it has, longest last; pods without any are not there."""
        found: dict[int, int] = {}
        holders = self._holders.get(blocks[0], 0) if blocks else 0
        depth = 1
        while holders:
            still = holders & self._holders.get(blocks[depth], 0) if depth < len(blocks) else 0
            for pod in _bits(holders & ~still):
                found[pod] = depth
            holders = still
            depth += 1
        return found

    def size(self, pod: int) -> int:
        """Blocks remembered of a pod."""
        return len(self._used[pod])

    def _forget(self, block: bytes, bit: int) -> None:
        left = self._holders[block] & ~bit
        if left:
            self._holders[block] = left
        else:
            del self._holders[block]


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
