"""How much of a waiting request's prompt the best pod with room has cached: asked again and again while it waits, and
so remembered for a moment."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from operator import itemgetter

from matrixinfer.handlers.dispatch.request import Request

FRESH_S = 0.2
_MOST = 1024

_tokens = itemgetter(1)

Holders = Callable[[Request], Mapping[str, float]]
"""Pod → tokens of the request's prompt that its cache holds."""


class Affinities:
    """`holders` costs some ten microseconds, and a choice of the queue asks for some ten requests."""

    def __init__(self, holders: Holders) -> None:
        self._holders = holders
        self._known: dict[int, tuple[float, list[tuple[str, float]]]] = {}  # the best holders first

    def best(self, request: Request, open_pods: Container[str], now: float) -> int:
        """Tokens at the pod of `open_pods` that has most of them."""
        if not request.block_hashes:
            return 0
        known = self._known.get(request.order)
        if known is None or now - known[0] > FRESH_S:
            if len(self._known) >= _MOST:
                self._known.clear()
            holders = sorted(self._holders(request).items(), key=_tokens, reverse=True)
            known = self._known[request.order] = (now, holders)
        for pod, tokens in known[1]:  # mostly the first has room; and a prompt that all know has hundreds of holders
            if pod in open_pods:
                return int(tokens)
        return 0

    def forget(self, request: Request) -> None:
        """It was placed."""
        self._known.pop(request.order, None)
