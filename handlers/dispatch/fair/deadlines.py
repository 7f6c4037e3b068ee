"""Whose deadline comes first, among requests that mostly leave before it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Container

from matrixinfer.handlers.dispatch.request import Request

_SLACK = 64


class Deadlines:
    """A heap in which those who left stay until they come up or are most of it. `waiting` tells who is still there."""

    def __init__(self, waiting: Container[int]) -> None:
        self._waiting = waiting
        self._heap: list[tuple[float, int, Request]] = []

    def add(self, request: Request) -> None:
        heapq.heappush(self._heap, (request.deadline, request.order, request))

    def earliest(self) -> float:
        """No request that waits has an earlier one; infinite when there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def take_due(self, now: float) -> list[Request]:
        """Those that wait and whose deadline has come, each once."""
        due: dict[int, Request] = {}
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in self._waiting):
            _, order, request = heapq.heappop(self._heap)
            if order in self._waiting:
                due[order] = request
        return list(due.values())

    def trim(self, waiting: int) -> None:
        """After departures: `waiting` are still there."""
        if not waiting:
            self._heap.clear()
        elif len(self._heap) > 2 * waiting + _SLACK:
            here = {
                order: (deadline, order, request) for deadline, order, request in self._heap if order in self._waiting
            }
            self._heap = list(here.values())
            heapq.heapify(self._heap)
