"""What an engine emitted for one job, read as its client would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from matrixinfer.agents.engines.port import Piece


@dataclass
class Answer:
    """What one job emitted."""

    pieces: list[Piece] = field(default_factory=list)

    def emit(self, piece: Piece) -> None:
        self.pieces.append(piece)

    @property
    def is_final(self) -> bool:
        return any(piece.final for piece in self.pieces)

    @property
    def last(self) -> Piece:
        return self.pieces[-1]

    @property
    def data(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)

    def events(self) -> list[Any]:
        """The stream's JSON events; that it ends with the end's mark is checked on the way."""
        events = self.data.split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events[:-2]]
