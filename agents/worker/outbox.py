"""Chunks that wait for the end of the loop turn, gathered for each gateway: many chunks, one frame, encoded once.

Pure: `now` is in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.frames import Chunk, Frame
from matrixinfer.bus.topology import MAX_PAYLOAD_BYTES

MAX_CHUNK_BYTES = MAX_PAYLOAD_BYTES - 64 * 1024
"""The data of one chunk; the rest is room for what is around it."""
FRAME_BYTES = 1024 * 1024
"""A turn with more than that leaves in several frames, so that no frame exceeds the server's limit."""
OF_LATE_S = 60.0
FORGET_LANE_S = 3600.0
LANES_BEFORE_FORGETTING = 1024


class Lane:
    """The way to one gateway. `number` is that of the last frame sent on it."""

    __slots__ = ("chunks", "gateway", "number", "sent_at", "size_bytes", "subject")

    def __init__(self, gateway: str, subject: str, now: float) -> None:
        self.gateway = gateway
        self.subject = subject
        self.number = 0
        self.sent_at = now
        self.chunks: list[Chunk] = []
        self.size_bytes = 0


class Outbox:
    """All lanes of one agent."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._lanes: dict[str, Lane] = {}
        self._loaded: list[Lane] = []

    def lane(self, gateway: str, subject: str, now: float) -> Lane:
        lane = self._lanes.get(gateway)
        if lane is None:
            if len(self._lanes) >= LANES_BEFORE_FORGETTING:
                self._forget(now)
            lane = self._lanes[gateway] = Lane(gateway, subject, now)
        return lane

    def add(self, lane: Lane, chunk: Chunk) -> None:
        """Let `chunk` leave with the next frame on `lane`, after those added before."""
        if not lane.chunks:
            self._loaded.append(lane)
        lane.chunks.append(chunk)
        lane.size_bytes += len(chunk.data)

    def take(self, now: float) -> list[tuple[str, bytes]]:
        """(subject, encoded frame) of all that waits: one for each gateway, unless it is very much."""
        if not self._loaded:
            return []
        loaded, self._loaded = self._loaded, []
        return [(lane.subject, self._frame(lane, chunks)) for lane in loaded for chunks in _unload(lane, now)]

    def numbers(self, now: float) -> dict[str, int]:
        """Gateway → number of the last frame, of those that got one in the last minute."""
        return {gateway: lane.number for gateway, lane in self._lanes.items() if now - lane.sent_at <= OF_LATE_S}

    def greeting(self, gateway: str) -> bytes:
        """A frame that says nothing: for asking whether the gateway is there."""
        lane = self._lanes.get(gateway)
        me = self._identity
        return encode(Frame(me.namespace, me.pod, me.boot, lane.number if lane else 0, []))

    def _frame(self, lane: Lane, chunks: list[Chunk]) -> bytes:
        lane.number += 1
        me = self._identity
        return encode(Frame(me.namespace, me.pod, me.boot, lane.number, chunks))

    def _forget(self, now: float) -> None:
        """A gateway's id is new with each of its lives: the old ones must not pile up."""
        for gateway in [name for name, lane in self._lanes.items() if now - lane.sent_at > FORGET_LANE_S]:
            del self._lanes[gateway]


def _unload(lane: Lane, now: float) -> Iterator[list[Chunk]]:
    chunks, size_bytes = lane.chunks, lane.size_bytes
    lane.chunks, lane.size_bytes, lane.sent_at = [], 0, now
    if size_bytes <= FRAME_BYTES:
        yield chunks
        return
    part: list[Chunk] = []
    part_bytes = 0
    for chunk in chunks:
        if part and part_bytes + len(chunk.data) > FRAME_BYTES:
            yield part
            part, part_bytes = [], 0
        part.append(chunk)
        part_bytes += len(chunk.data)
    yield part
