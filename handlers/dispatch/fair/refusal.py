"""No, at once: what a client is told whose request cannot wait here. And the bounds on who may wait."""

from __future__ import annotations

from typing import Literal, NamedTuple

from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.request import Request

SHORTEST_RETRY_S = 1.0
LONGEST_RETRY_S = 600.0
"""No prediction is worth more."""


class Refusal(NamedTuple):
    """`status` is 429 when the tenant's own backlog is the cause, 503 when the pool's is."""

    status: Literal[429, 503]
    reason: str
    retry_after_s: float


def retry_after_s(virtual_tokens: float, rate_per_s: float | None) -> float:
    """Seconds until so much is served, within what is worth saying; the shortest when the rate is not known."""
    if not rate_per_s:
        return SHORTEST_RETRY_S
    return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, virtual_tokens / rate_per_s))


class Held(NamedTuple):
    """What waits now, of one tenant or in the whole pool."""

    waiting: int
    size_bytes: int
    virtual_tokens: float


def over_bounds(
    request: Request, own: Held, pool: Held, settings: FairSettings, rates_per_s: tuple[float, float] | None
) -> Refusal | None:
    """None when there is a place for it. `own` is its tenant's; `rates_per_s` are its tenant's and the pool's."""
    own_rate, pool_rate = rates_per_s or (None, None)
    excess = _excess(own, request, settings.max_tenant_waiting, settings.max_tenant_waiting_bytes)
    if excess:
        reason = f"tenant {request.tenant} has {own.waiting} requests of {own.size_bytes} bytes waiting"
        return Refusal(429, reason, retry_after_s(excess * own.virtual_tokens, own_rate))
    excess = _excess(pool, request, settings.max_waiting, settings.max_waiting_bytes)
    if excess:
        reason = f"{pool.waiting} requests of {pool.size_bytes} bytes are waiting"
        return Refusal(503, reason, retry_after_s(excess * pool.virtual_tokens, pool_rate))
    return None


def _excess(held: Held, request: Request, most: int, most_bytes: int) -> float:
    """The part of what waits that must go first; 0 when there is a place. An empty queue takes any request."""
    if not held.waiting:
        return 0.0
    too_many = max(0, held.waiting + 1 - most) / held.waiting
    too_large = max(0, held.size_bytes + request.size_bytes - most_bytes) / max(1, held.size_bytes)
    return min(1.0, max(too_many, too_large))
