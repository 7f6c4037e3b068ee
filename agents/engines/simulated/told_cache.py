"""A prefix cache that tells what it holds: CacheTeller of the simulated engine and of the simulator's pods. Pure."""

from __future__ import annotations

from matrixinfer.agents.engines.simulated.cache_journal import CacheJournal
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache
from matrixinfer.bus.contracts.cache import BlocksStored, CacheChange


class ToldCache:
    """Keeps the port's promises for `cache`. Nothing is written down before somebody asks for the first time."""

    def __init__(self, cache: PrefixCache) -> None:
        self._cache = cache

    def take_cache_changes(self) -> list[CacheChange]:
        journal = self._cache.journal
        if journal is not None:
            return journal.take()
        self._cache.journal = CacheJournal()
        return [*self.cached_blocks()]

    def cached_blocks(self) -> list[BlocksStored]:
        blocks = self._cache.blocks()
        return [BlocksStored(blocks)] if blocks else []

    def replace(self, cache: PrefixCache) -> None:
        """Another cache, an empty one, took its place."""
        journal = self._cache.journal
        if journal is not None:
            journal.cleared()
        cache.journal, self._cache = journal, cache
