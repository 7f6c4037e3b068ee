"""Requests that no pod suits now, and when to ask again: an event that frees nothing for them costs nothing.

Most are too large for what is free of every pod's KV cache: those that would fit are asked again when some pod's room
has grown. Those that wait for a prefill pod are asked again when one has more room, or another pod can do
without. The others a filter refused, as for an adapter that no pod has: they are asked again now and then.
"""

from __future__ import annotations

import math
from collections import Counter

from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fleet import Growth
from matrixinfer.handlers.dispatch.pairs.split import Wait
from matrixinfer.handlers.dispatch.request import Request

REFUSED_AGAIN_AFTER_S = 0.25
"""Filters may judge by what no event tells."""

LARGE_AGAIN_AFTER_S = 5.0
"""Should the growth of a pod's room have escaped notice."""

REFUSED_OF_A_TENANT = 8
"""Refusals of one tenant's requests, and the rest of them waits too: many requests that nobody can serve must not cost
a decision each, nor stand before everybody else's."""


class PassingOver:
    """Between the queue and the pods: `begin_round` decides who is asked again."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self._large: dict[int, int] = {}
        """By `order`: the tokens that it needs room for."""
        self._smallest: float = math.inf
        self._unpaired: set[int] = set()
        """By `order`: those for which no prefill pod has a slot, or none of the group of who could decode."""
        self._refused: Counter[str] = Counter()
        self._recalled_at = -math.inf

    @property
    def is_for_room(self) -> bool:
        """Does somebody wait for room in a cache, or on a prefill pod?"""
        return bool(self._large or self._unpaired)

    def begin_round(self, growth: Growth, now: float) -> None:
        """`growth` is what the pods can take more than in the last round."""
        if not (self._refused or self._large or self._unpaired):
            return
        again_after_s = REFUSED_AGAIN_AFTER_S if self._refused else LARGE_AGAIN_AFTER_S
        if growth.has_news or now - self._recalled_at >= again_after_s:
            self.recall(now)
            return
        if growth.can_prefill and self._unpaired:
            self._queue.recall_some(list(self._unpaired))
            self._unpaired.clear()
        if growth.room >= self._smallest:
            self._recall_up_to(growth.room)

    def recall(self, now: float) -> None:
        """Everybody may go again."""
        self._queue.recall()
        self._large.clear()
        self._unpaired.clear()
        self._smallest = math.inf
        self._refused.clear()
        self._recalled_at = now

    def let_pass(self, request: Request, wait: Wait, now: float) -> None:
        """It stays in the queue for this reason."""
        if wait is Wait.FOR_PREFILL:
            self._unpaired.add(request.order)
            self._queue.pass_over(request)
        elif wait is Wait.FOR_ROOM:
            self.too_large(request, now)
        elif wait is Wait.FOR_PARTNER:
            self._unpaired.add(request.order)
            self.too_large(request, now)
        else:
            self.refused(request)

    def too_large(self, request: Request, now: float) -> None:
        """It fits into no open pod's cache."""
        self._large[request.order] = request.kv_tokens
        self._smallest = min(self._smallest, request.kv_tokens)
        request.blocked_since = request.blocked_since or now
        self._queue.pass_over(request)

    def refused(self, request: Request) -> None:
        """No pod with room passed the filters for it."""
        self._refused[request.tenant] += 1
        if self._refused[request.tenant] < REFUSED_OF_A_TENANT:
            self._queue.pass_over(request)
        else:
            self._queue.hold(request)

    def _recall_up_to(self, room: float) -> None:
        fitting = [order for order, tokens in self._large.items() if tokens <= room]
        for order in fitting:
            del self._large[order]
        self._smallest = min(self._large.values(), default=math.inf)
        self._queue.recall_some(fitting)
