"""What came into a cache and went out of it since somebody asked, as few changes. Pure."""

from __future__ import annotations

from matrixinfer.bus.contracts.cache import BlocksRemoved, BlocksStored, CacheChange, CacheCleared


class CacheJournal:
    """Of a block that comes and goes again and again only its last state is told."""

    def __init__(self) -> None:
        self._is_there: dict[bytes, bool] = {}
        self._was_cleared = False

    def stored(self, block: bytes) -> None:
        self._is_there[block] = True

    def removed(self, block: bytes) -> None:
        self._is_there[block] = False

    def cleared(self) -> None:
        """Everything went out at once."""
        self._is_there.clear()
        self._was_cleared = True

    def take(self) -> list[CacheChange]:
        """The changes since the last call; removals come first, as they make the room that the others take."""
        changes: list[CacheChange] = [CacheCleared()] if self._was_cleared else []
        removed = b"".join([block for block, is_there in self._is_there.items() if not is_there])
        stored = b"".join([block for block, is_there in self._is_there.items() if is_there])
        if removed:
            changes.append(BlocksRemoved(removed))
        if stored:
            changes.append(BlocksStored(stored))
        self._is_there.clear()
        self._was_cleared = False
        return changes
