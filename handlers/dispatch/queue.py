"""The queue of one pool: who is next. Today first come, first served; a fair queue keeps the same promises."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol

from matrixinfer.handlers.dispatch.ranks import Ranks
from matrixinfer.handlers.dispatch.request import Request


class RequestQueue(Protocol):
    """Holds each request at most once."""

    size_bytes: int
    earliest_deadline: float
    """No request in the queue has an earlier one; infinite when that is certain to be nobody's."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Request]: ...

    def push(self, request: Request) -> None:
        """Take it in at its place by `order`: one that was placed before and comes back goes ahead of later ones."""
        ...

    def head(self) -> Request | None:
        """The next one; it stays in the queue."""
        ...

    def remove(self, request: Request) -> bool:
        """Take it out wherever it is; False when it was not there."""
        ...

    def position(self, request: Request) -> int:
        """How many are before it; 0 is next. In a long queue it may be off by a sixteenth of its length."""
        ...

    def take_overdue(self, now: float) -> list[Request]:
        """Remove and return those whose deadline has come."""
        ...


class FifoQueue:
    """First come, first served, by `order`. All is O(1), but `position` now and then, and `take_overdue` when due."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.earliest_deadline = math.inf
        self._held: OrderedDict[int, Request] = OrderedDict()
        self._newest = -1
        self._returned: list[int] = []  # a heap: what came out of order; the rest of _held ascends
        self._ranks = Ranks(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._held.values())

    def push(self, request: Request) -> None:
        order = request.order
        if order in self._held:
            return
        self._held[order] = request
        if order > self._newest:
            self._newest = order
        else:
            heapq.heappush(self._returned, order)
        self._ranks.changes += 1
        self.size_bytes += request.size_bytes
        self.earliest_deadline = min(self.earliest_deadline, request.deadline)

    def head(self) -> Request | None:
        if not self._held:
            return None
        while self._returned and self._returned[0] not in self._held:
            heapq.heappop(self._returned)
        first = next(iter(self._held))
        return self._held[min(first, self._returned[0]) if self._returned else first]

    def remove(self, request: Request) -> bool:
        if self._held.pop(request.order, None) is None:
            return False
        self._ranks.changes += 1
        self.size_bytes -= request.size_bytes
        if not self._held:
            self.earliest_deadline = math.inf
            self._returned.clear()
        return True

    def position(self, request: Request) -> int:
        return self._ranks.below(request.order)

    def take_overdue(self, now: float) -> list[Request]:
        if now < self.earliest_deadline:
            return []
        overdue = [request for request in self._held.values() if request.deadline <= now]
        for request in overdue:
            self.remove(request)
        self.earliest_deadline = min((request.deadline for request in self._held.values()), default=math.inf)
        return overdue
