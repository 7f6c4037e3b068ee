"""Within what fairness leaves open, the request goes first whose prompt a pod with room has cached longest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from matrixinfer.handlers.dispatch.fair.flow import Flow
from matrixinfer.handlers.dispatch.request import Request

Affinity = Callable[[Request], int]
"""Cached prompt tokens at the pod with room that has most of them."""


def longest_cached(flows: Sequence[Flow], affinity: Affinity, window: int) -> Request | None:
    """Of the first requests of `flows` (in fair order), `window` at most; of equals the first."""
    best, most = None, -1
    for request in _first_of_each(flows, window):
        if 0 < request.prompt_tokens <= most:
            continue  # even wholly cached it would be no better
        cached_tokens = affinity(request)
        if cached_tokens > most:
            best, most = request, cached_tokens
    return best


def _first_of_each(flows: Sequence[Flow], window: int) -> Iterator[Request]:
    share = max(1, window // max(1, len(flows)))
    for flow in flows[:window]:
        if share > 1:
            yield from islice(flow.line, share)
        elif (first := flow.line.first()) is not None:
            yield first
