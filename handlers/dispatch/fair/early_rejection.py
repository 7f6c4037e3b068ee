"""Better a no now than a 504 at the deadline: whether a request can start in time, and when to come back if not."""

from __future__ import annotations

from matrixinfer.handlers.dispatch.fair.forecast import Ahead
from matrixinfer.handlers.dispatch.fair.refusal import Refusal, retry_after_s

_TOLERANCE = 1.25
"""A request is refused when the predicted wait is longer than its patience by this factor: a forecast that is wrong by
less must not turn away what would have been served."""


def too_late(ahead: Ahead, rate_per_s: float | None, remaining_s: float) -> Refusal | None:
    """None when it is predicted to start before its deadline, or when no prediction is possible.

    The wait is the work before it in fair order by the rate at which the pool works it off. If without the tenant's own
    waiting requests it would start in time, they are the cause: 429; else the pool is: 503. It may come back as soon as
    so much is worked off that the same patience would do.
    """
    if not rate_per_s:
        return None
    patience_s = max(0.0, remaining_s) * _TOLERANCE
    wait_s = ahead.virtual_tokens / rate_per_s
    if wait_s <= patience_s:
        return None
    is_own = ahead.without_own / rate_per_s <= patience_s
    whose = "of the same tenant " if is_own else ""
    reason = f"the requests {whose}before it take {wait_s:.1f} s, and it waits {max(0.0, remaining_s):.1f} s at most"
    retry = retry_after_s(ahead.virtual_tokens - patience_s * rate_per_s, rate_per_s)
    return Refusal(429 if is_own else 503, reason, retry)
