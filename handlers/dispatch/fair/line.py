"""Requests in a row by `order`, of which any may leave and come back at its old place."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from matrixinfer.handlers.dispatch.request import Request

_SLACK = 64


class Line:
    """All is O(1) amortised, but a return into the middle: a bisection and a move within one list.

    `_orders` ascends from `_start` on. Who left stays there as a number without a request until it is passed or there
    are more of those than of others.
    """

    __slots__ = ("_held", "_orders", "_start")

    def __init__(self) -> None:
        self._held: dict[int, Request] = {}
        self._orders: list[int] = []
        self._start = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Request]:
        held, orders = self._held, self._orders
        for at in range(self._start, len(orders)):
            request = held.get(orders[at])
            if request is not None:
                yield request

    def first(self) -> Request | None:
        held, orders, start = self._held, self._orders, self._start
        while held:
            request = held.get(orders[start])
            if request is not None:
                self._start = start
                return request
            start += 1
        return None

    def rank(self, order: int) -> float:
        """How many are before `order`, about: who left is taken to have stood anywhere."""
        length = len(self._orders) - self._start
        return (
            (bisect_left(self._orders, order, self._start) - self._start) * len(self._held) / length if length else 0.0
        )

    def add(self, request: Request) -> None:
        order, orders = request.order, self._orders
        if not self._held:
            orders.clear()
            self._start = 0
        if not orders or order > orders[-1]:
            orders.append(order)
        else:
            self._insert(order)
        self._held[order] = request

    def discard(self, request: Request) -> bool:
        """False when it was not there."""
        if self._held.pop(request.order, None) is None:
            return False
        if len(self._orders) > 2 * len(self._held) + _SLACK:
            self._orders = [order for order in self._orders[self._start :] if order in self._held]
            self._start = 0
        return True

    def _insert(self, order: int) -> None:
        at = bisect_left(self._orders, order, self._start)
        if at < len(self._orders) and self._orders[at] == order:
            return
        if at == self._start and at > 0:
            self._start -= 1  # what is before the start matters to nobody
            self._orders[self._start] = order
        else:
            self._orders.insert(at, order)
