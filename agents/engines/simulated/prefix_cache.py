"""The KV cache of the simulated engine, counted in tokens: what runs, and whole prompt blocks kept for their prefix.

A block's hash is chained: it names all of the prompt up to its end. A block is held by the running requests that use
it; one that nobody holds stays until its room is needed, the longest unused first. Pure.

    capacity = private tokens of running requests + block_tokens * (held blocks + idle blocks) + free
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from matrixinfer.agents.engines.simulated.cache_journal import CacheJournal


class PrefixCache:
    """`used_tokens` never exceeds `capacity_tokens`; the caller gives back exactly what it was given.

    What comes and goes is written into `journal`, if there is one.
    """

    def __init__(self, capacity_tokens: int, block_tokens: int) -> None:
        self.capacity_tokens = capacity_tokens
        self.block_tokens = block_tokens
        self._private_tokens = 0
        self._held: dict[bytes, int] = {}
        self._idle: OrderedDict[bytes, None] = OrderedDict()
        self.journal: CacheJournal | None = None

    @property
    def busy_tokens(self) -> int:
        """Tokens that running requests need."""
        return self._private_tokens + len(self._held) * self.block_tokens

    @property
    def used_tokens(self) -> int:
        """`busy_tokens` and the idle blocks."""
        return self.busy_tokens + len(self._idle) * self.block_tokens

    def blocks(self) -> bytes:
        """All that is there, in use or not; of a prompt's blocks no one comes before those that precede it there."""
        return b"".join([*self._held, *reversed(self._idle)])

    def hit(self, hashes: Sequence[bytes]) -> int:
        """How many blocks from the beginning are there."""
        for count, block in enumerate(hashes):
            if block not in self._held and block not in self._idle:
                return count
        return len(hashes)

    def reserve(self, hit: Sequence[bytes], private_tokens: int) -> bool:
        """Hold the blocks `hit` (all there) and room for `private_tokens`, evicting idle blocks; False: no room."""
        woken = sum(1 for block in hit if block not in self._held)
        if self.busy_tokens + woken * self.block_tokens + private_tokens > self.capacity_tokens:
            return False
        self._hold(hit)
        self._private_tokens += private_tokens
        excess_tokens = self.used_tokens - self.capacity_tokens
        for _ in range(-(-excess_tokens // self.block_tokens)):
            block, _ = self._idle.popitem(last=False)
            if self.journal is not None:
                self.journal.removed(block)
        return True

    def publish(self, hashes: Sequence[bytes]) -> None:
        """Private tokens become held blocks, where another request can find them; one already there is shared."""
        self._private_tokens -= self.block_tokens * len(hashes)
        self._hold(hashes)

    def release(self, held: Sequence[bytes], private_tokens: int) -> None:
        """Give back what a request had. Its last blocks become the first to go: they help the fewest others."""
        self._private_tokens -= private_tokens
        holders, idle = self._held, self._idle
        for block in reversed(held):
            if holders[block] > 1:
                holders[block] -= 1
            else:
                del holders[block]
                idle[block] = None

    def _hold(self, blocks: Sequence[bytes]) -> None:
        holders, idle, journal = self._held, self._idle, self.journal
        for block in blocks:
            if block in holders:
                holders[block] += 1
                continue
            holders[block] = 1
            if block in idle:
                del idle[block]
            elif journal is not None:
                journal.stored(block)
