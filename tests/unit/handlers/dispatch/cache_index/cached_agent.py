"""An agent's side of the cache conversation, as its contract says it: the truth that the feed has to reach."""

from __future__ import annotations

from matrixinfer.bus.block_hashes import BLOCK_TOKENS
from matrixinfer.bus.contracts.cache import (
    BlocksRemoved,
    BlocksStored,
    CacheChange,
    CacheCleared,
    CacheEvent,
    Tier,
)
from matrixinfer.bus.contracts.control import CacheDump, CacheDumped
from matrixinfer.handlers.dispatch.cache_index.kv_index import TierWeights
from support.naive_index import split

CHUNK_BLOCKS = 2


class CachedAgent:
    """`sent` holds its events, oldest first; who carries them takes them out."""

    def __init__(self, pod: str) -> None:
        self.pod = pod
        self.sent: list[CacheEvent] = []
        self.boots = 0
        self.reboot()

    def reboot(self) -> None:
        self.boots += 1
        self.sequence = 0
        self.blocks: set[tuple[Tier, bytes]] = set()
        self._dump: tuple[int, list[tuple[Tier, bytes]]] = (-1, [])

    def store(self, hashes: bytes, tier: Tier) -> None:
        self.blocks |= {(tier, block) for block in split(hashes)}
        self._tell(BlocksStored(hashes, tier))

    def remove(self, hashes: bytes, tier: Tier) -> None:
        self.blocks -= {(tier, block) for block in split(hashes)}
        self._tell(BlocksRemoved(hashes, tier))

    def clear(self) -> None:
        self.blocks = set()
        self._tell(CacheCleared())

    def remind(self) -> None:
        self.sent.append(self._event([]))

    def answer(self, order: CacheDump) -> CacheDumped:
        sequence, dumped = self._dump
        cursor = order.cursor
        if cursor == 0 or order.sequence != sequence:
            self._dump = sequence, dumped = self.sequence, sorted(self.blocks)
            cursor = 0
        end = cursor + CHUNK_BLOCKS
        chunk = [BlocksStored(block, tier) for tier, block in dumped[cursor:end]]
        return CacheDumped(f"boot-{self.boots}", sequence, cursor, end if end < len(dumped) else 0, chunk)

    def tokens(self, block: bytes) -> float:
        """What the index should say of this block alone."""
        weights = TierWeights()._asdict()
        return max([0.0, *(weights[tier] * BLOCK_TOKENS for tier, known in self.blocks if known == block)])

    def _tell(self, change: CacheChange) -> None:
        self.sequence += 1
        self.sent.append(self._event([change]))

    def _event(self, changes: list[CacheChange]) -> CacheEvent:
        return CacheEvent("ns", self.pod, f"boot-{self.boots}", self.sequence, changes)
