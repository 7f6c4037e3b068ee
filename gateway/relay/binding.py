"""Which chunks are the client's: one attempt, of one agent, in order, each once. Pure.

The first chunk heard binds. After it, only chunks of the same agent life and hop count; what comes early is held until
the gap before it is filled (by a replay), what comes again is dropped.
"""

from __future__ import annotations

from typing import NamedTuple

from matrixinfer.bus.contracts.frames import Chunk
from matrixinfer.bus.contracts.load import WorkKey


class Source(NamedTuple):
    """Who sent a frame: one life of one pod. An empty pod is dispatch."""

    namespace: str
    pod: str
    boot: str


class Binding:
    """The reading side of one request. Its property: whatever order, loss, duplication and replay of the bound
    sender's chunks, what `take` returned in sequence is a prefix of what was sent, without a hole."""

    __slots__ = ("_held", "attempt", "held_bytes", "hop", "next_number", "phase", "source")

    def __init__(self) -> None:
        self.source: Source | None = None
        self.attempt = 0
        self.hop = 0
        self.phase = ""
        self.next_number = 0
        self.held_bytes = 0
        self._held: dict[int, Chunk] = {}

    def take(self, source: Source, chunk: Chunk) -> tuple[Chunk, ...] | None:
        """The chunks that are due now, in order: none when `chunk` is a duplicate or came early. None: it is not
        from the one this request is bound to."""
        if self.source is None:
            self._bind(source, chunk)
        elif (
            chunk.hop != self.hop or source != self.source or chunk.attempt != self.attempt or chunk.phase != self.phase
        ):
            return None
        number = chunk.number
        if number == self.next_number:
            self.next_number = number + 1
            return (chunk,) if not self._held else (chunk, *self._released())
        if number > self.next_number and number not in self._held:
            self._held[number] = chunk
            self.held_bytes += len(chunk.data)
        return ()

    def has_gap(self) -> bool:
        """Something came early: a chunk before it is missing."""
        return bool(self._held)

    def key(self, rid: str) -> WorkKey:
        """The work this is bound to. Only when bound."""
        return WorkKey(rid, self.attempt, self.hop, self.phase)

    def _bind(self, source: Source, chunk: Chunk) -> None:
        self.source = source
        self.attempt = chunk.attempt
        self.hop = chunk.hop
        self.phase = chunk.phase

    def _released(self) -> list[Chunk]:
        due = []
        while (chunk := self._held.pop(self.next_number, None)) is not None:
            due.append(chunk)
            self.next_number += 1
            self.held_bytes -= len(chunk.data)
        return due
