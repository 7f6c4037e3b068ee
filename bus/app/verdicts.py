"""What becomes of a message, decided from how its handler ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from matrixinfer.bus.errors import Malformed, Reject, Retry


@dataclass(frozen=True)
class Patience:
    """For failures that are no verdict: a defect, or something unforeseen.

    The waits double from `first_wait_s` and stay short, since a message that waits in hand holds up its partition;
    after `deliveries` it becomes a dead letter.
    """

    deliveries: int = 5
    first_wait_s: float = 0.1
    last_wait_s: float = 1.0


@dataclass(frozen=True)
class Done:
    pass


@dataclass(frozen=True)
class Later:
    """Acknowledge, and have the server put it back after `after_s`."""

    after_s: float


@dataclass(frozen=True)
class Dead:
    reason: str


@dataclass(frozen=True)
class Again:
    """Give it back, to be delivered again after `after_s`."""

    after_s: float


Outcome = Done | Later | Dead | Again


def judge(error: Exception | None, delivered: int, patience: Patience, *, can_schedule: bool) -> Outcome:
    """`delivered` counts from 1. Without schedules in its stream, a message that is retried waits in hand."""
    if error is None:
        return Done()
    if isinstance(error, Retry):
        return Later(error.after_s) if can_schedule else Again(error.after_s)
    if isinstance(error, Reject):
        return Dead(error.reason)
    if isinstance(error, Malformed):
        return Dead(str(error))
    if delivered >= patience.deliveries:
        return Dead(f"failed {delivered} times, last with {type(error).__name__}: {error}")
    return Again(min(patience.last_wait_s, patience.first_wait_s * 2 ** (delivered - 1)))
