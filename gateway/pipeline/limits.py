"""How much, and how urgent: the bounds that hold before anything is published."""

from __future__ import annotations

import re

from matrixinfer.gateway.errors import BadRequest, BodyTooLarge, Overloaded, quoted

SHORTEST_DEADLINE_S = 1.0

_WHOLE = re.compile(rb"-?[0-9]{1,4}")


def check_body(size_bytes: int, limit_bytes: int) -> None:
    """Raises BodyTooLarge."""
    if size_bytes > limit_bytes:
        raise BodyTooLarge(f"the request body has at least {size_bytes} bytes; {limit_bytes} are the most")


def check_in_flight(in_flight: int, bound: int) -> None:
    """Raises Overloaded when one more would be too many."""
    if in_flight >= bound:
        raise Overloaded(f"this gateway already holds {in_flight} requests; try again soon", retry_after_s=1.0)


def deadline_s(asked: bytes | None, route_s: float, default_s: float, longest_s: float) -> float:
    """Seconds that the request has: the client's wish, else the route's, else the default; within the bounds."""
    if asked is None:
        return min(route_s or default_s, longest_s)
    try:
        wish = float(asked)
    except ValueError:
        wish = -1.0
    if not wish > 0:  # also refuses NaN
        text = quoted(asked.decode("latin-1"))
        raise BadRequest(f"header x-request-timeout-s: expected seconds above 0, met {text}", code="invalid_header")
    return min(max(wish, SHORTEST_DEADLINE_S), longest_s)


def priority(asked: bytes | None, lowest: int, highest: int) -> int:
    """What the client asks for, 0 when it does not. Raises BadRequest with the range: nobody shall believe to be first
    who is not."""
    if asked is None:
        return 0
    wish = int(asked) if _WHOLE.fullmatch(asked) else None
    if wish is None or not lowest <= wish <= highest:
        text = quoted(asked.decode("latin-1"))
        expected = f"a whole number from {lowest} to {highest}"
        raise BadRequest(f"header x-priority: expected {expected}, met {text}", code="invalid_header")
    return wish
