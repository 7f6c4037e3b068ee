"""The names of prompt blocks that several engines keep in one folder: the twin of an LMCache server.

A file a block, empty, and as old as its last use. Looking one up takes some microseconds of the loop's time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

MOST_BLOCKS = 65_536
LOOK_EVERY = 256
"""After so many new blocks it is looked whether there are too many."""


class StoredBlocks:
    """Bounded: a quarter of them goes, the longest unused first, when there are more than `most_blocks`."""

    def __init__(self, folder: Path, most_blocks: int = MOST_BLOCKS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._most_blocks = most_blocks
        self._new_count = 0

    def hit(self, blocks: Sequence[bytes]) -> int:
        """How many from the beginning are there."""
        for count, block in enumerate(blocks):
            if not (self._folder / block.hex()).exists():
                return count
        return len(blocks)

    def store(self, blocks: Sequence[bytes]) -> None:
        """They are there from now on, used just now."""
        for block in blocks:
            (self._folder / block.hex()).touch()
        self._new_count += len(blocks)
        if self._new_count >= min(LOOK_EVERY, self._most_blocks):
            self._new_count = 0
            self._make_room()

    def _make_room(self) -> None:
        ages: list[tuple[int, str]] = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another engine makes room as well
                ages.append((entry.stat().st_mtime_ns, entry.path))
        if len(ages) <= self._most_blocks:
            return
        for _, path in sorted(ages)[: len(ages) - self._most_blocks * 3 // 4]:
            Path(path).unlink(missing_ok=True)
