"""Cache events: what is said of the engine's cache, in one sequence, and the dumps for those who missed some of it.

Pure: `now` is in monotonic seconds. What could not be sent is not said again: the gap in the sequence tells that it is
missing, as it does where the bus loses an event.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from matrixinfer.agents.engines.port import CacheTeller
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.block_hashes import HASH_BYTES
from matrixinfer.bus.contracts.cache import BlocksStored, CacheEvent
from matrixinfer.bus.contracts.control import CacheDump, CacheDumped

REMIND_EVERY_S = 1.0
CHUNK_BLOCKS = 4096
KEPT_DUMPS = 4
"""States that somebody may be fetching: a pool's shards are served by several dispatchers."""


class CacheDiary:
    """`sequence` is that of the last event with changes. Without a `teller` there is nothing to say. `tokens_only` is
    said with every event, as `CacheEvent` has it."""

    def __init__(self, identity: Identity, teller: CacheTeller | None, *, tokens_only: bool = False) -> None:
        self.sequence = 0
        self._identity = identity
        self._teller = teller
        self._tokens_only = tokens_only
        self._said_at = -math.inf
        self._dumps: dict[int, list[BlocksStored]] = {}

    def compose(self, now: float) -> CacheEvent | None:
        """The next event, to be asked for ten times a second: changes, or a reminder when none was for a second."""
        if self._teller is None:
            return None
        changes = self._teller.take_cache_changes()
        if changes:
            self.sequence += 1
        elif now - self._said_at < REMIND_EVERY_S:
            return None
        self._said_at = now
        me = self._identity
        return CacheEvent(me.namespace, me.pod, me.boot, self.sequence, changes, tokens_only=self._tokens_only)

    def dumped(self, order: CacheDump) -> CacheDumped:
        """The chunk that `order` asks for, or the first one of the present state."""
        chunks, sequence, cursor = self._dumps.get(order.sequence), order.sequence, order.cursor
        if chunks is None or not 0 < cursor < len(chunks):
            chunks, sequence, cursor = self._present(), self.sequence, 0
        more = cursor + 1 if cursor + 1 < len(chunks) else 0
        return CacheDumped(self._identity.boot, sequence, cursor, more, chunks[cursor : cursor + 1])

    def _present(self) -> list[BlocksStored]:
        """A cursor is a place in this list. What was not told yet may be in it: to be told it again does no harm.
        Before the first event it is empty, as that event tells everything."""
        if self.sequence not in self._dumps:
            told = self._teller.cached_blocks() if self._teller is not None and self.sequence > 0 else []
            self._dumps[self.sequence] = list(in_chunks(told))
            if len(self._dumps) > KEPT_DUMPS:
                del self._dumps[next(iter(self._dumps))]
        return self._dumps[self.sequence]


def in_chunks(blocks: Iterable[BlocksStored]) -> Iterable[BlocksStored]:
    """The same blocks, not more than CHUNK_BLOCKS together."""
    size = CHUNK_BLOCKS * HASH_BYTES
    for each in blocks:
        for start in range(0, len(each.hashes), size):
            yield BlocksStored(each.hashes[start : start + size], each.tier, each.adapter)
