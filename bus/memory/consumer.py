"""A durable consumer as the server keeps it: what is ready, what is in somebody's hands and until when."""

from __future__ import annotations

import heapq
from collections import deque

from matrixinfer.bus.ports.queue import Consumer


class ConsumerState:
    """Sequences move from `ready` (or `_again`, which goes first) to `in_hand`, and leave by an acknowledgement."""

    def __init__(self, spec: Consumer) -> None:
        self.spec = spec
        self.deleted = False
        self.superseded = False
        self.ready: deque[int] = deque()
        self.in_hand: dict[int, float] = {}
        self._again: list[int] = []
        self._delivered: dict[int, int] = {}

    def take(self, now: float) -> tuple[int, int] | None:
        """The next sequence and how often it was delivered with this time; None when nothing may go out."""
        if len(self.in_hand) >= self.spec.max_ack_pending or not (self._again or self.ready):
            return None
        sequence = heapq.heappop(self._again) if self._again else self.ready.popleft()
        self.in_hand[sequence] = now + self.spec.ack_wait_s
        count = self._delivered[sequence] = self._delivered.get(sequence, 0) + 1
        return sequence, count

    def put_back(self, sequence: int) -> None:
        if self.in_hand.pop(sequence, None) is not None:
            heapq.heappush(self._again, sequence)

    def extend(self, sequence: int, now: float) -> None:
        if sequence in self.in_hand:
            self.in_hand[sequence] = now + self.spec.ack_wait_s

    def forget(self, sequence: int) -> None:
        """The message is gone, or done. (A forgotten sequence in `ready` is skipped by whoever takes it.)"""
        self.in_hand.pop(sequence, None)
        self._delivered.pop(sequence, None)
        if sequence in self._again:
            self._again.remove(sequence)
            heapq.heapify(self._again)

    def put_back_overdue(self, now: float) -> None:
        for sequence in [s for s, deadline in self.in_hand.items() if deadline <= now]:
            self.put_back(sequence)

    def next_deadline(self) -> float | None:
        return min(self.in_hand.values(), default=None)
