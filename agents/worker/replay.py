"""Frames are sent at most once; what was sent stays here for a while, so that a gateway that missed some can ask.

Pure: `now` is in monotonic seconds.
"""

from __future__ import annotations

from collections import deque

from matrixinfer.bus.contracts.frames import Chunk
from matrixinfer.bus.contracts.load import WorkKey

KEEP_ENDED_S = 10.0
CHUNK_OVERHEAD_BYTES = 128
"""What a chunk costs in memory beside its data, roughly."""


class History:
    """The chunks sent for one work, from `first_number` on (0, unless memory ran out)."""

    __slots__ = ("chunks", "ended_at", "first_number", "key", "size_bytes")

    def __init__(self, key: WorkKey) -> None:
        self.key = key
        self.chunks: list[Chunk] = []
        self.first_number = 0
        self.size_bytes = 0
        self.ended_at = 0.0


class ReplayStore:
    """Chunks of all works: until 10 s after the end, at most `limit_bytes` in all.

    When there is more, what ended goes first, oldest end first; then the oldest chunks of what runs, longest first in
    hand: a running answer without its beginning can still be continued for a gateway that missed the latest chunks.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.size_bytes = 0
        self._limit_bytes = limit_bytes
        self._histories: dict[WorkKey, History] = {}
        self._ended: deque[History] = deque()

    def open(self, key: WorkKey) -> History:
        history = self._histories[key] = History(key)
        return history

    def keep(self, history: History, chunk: Chunk) -> None:
        size_bytes = len(chunk.data) + CHUNK_OVERHEAD_BYTES
        history.chunks.append(chunk)
        history.size_bytes += size_bytes
        self.size_bytes += size_bytes
        if self.size_bytes > self._limit_bytes:
            self._make_room()

    def end(self, history: History, now: float) -> None:
        """No chunk follows."""
        history.ended_at = now
        self._ended.append(history)
        self.forget(now)

    def forget(self, now: float) -> None:
        """Drop what ended more than 10 s ago."""
        while self._ended and self._ended[0].ended_at <= now - KEEP_ENDED_S:
            self._drop_oldest_ended()

    def since(self, key: WorkKey, next_number: int) -> list[Chunk] | None:
        """The chunks from `next_number` on, in order; None when they are not known (any more)."""
        history = self._histories.get(key)
        if history is None or next_number < history.first_number:
            return None
        return history.chunks[next_number - history.first_number :]

    def _make_room(self) -> None:
        while self._ended and self.size_bytes > self._limit_bytes:
            self._drop_oldest_ended()
        for history in self._histories.values():
            if self.size_bytes <= self._limit_bytes:
                return
            self._drop_first_chunks(history)

    def _drop_oldest_ended(self) -> None:
        history = self._ended.popleft()
        self._histories.pop(history.key, None)
        self.size_bytes -= history.size_bytes

    def _drop_first_chunks(self, history: History) -> None:
        dropped = freed_bytes = 0
        while dropped < len(history.chunks) and self.size_bytes - freed_bytes > self._limit_bytes:
            freed_bytes += len(history.chunks[dropped].data) + CHUNK_OVERHEAD_BYTES
            dropped += 1
        del history.chunks[:dropped]
        history.first_number += dropped
        history.size_bytes -= freed_bytes
        self.size_bytes -= freed_bytes
