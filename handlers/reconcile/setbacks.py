"""Keys whose reconcile failed: how long each waits, when people are told, when it is given up. Pure but for counts."""

from __future__ import annotations

from matrixinfer.bus.errors import Reject, Retry
from matrixinfer.handlers.api.conditions import condition, updated
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.triggers import Key

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 30.0
CONFLICT_RETRY_S = 0.05
CONFLICTS = 20
"""In a row: by then it is no longer somebody who was faster."""
TOLD_AFTER = 4
"""Failures in a row: some seconds, which a conflict or an election does not last."""
GIVEN_UP_AFTER = 20
"""About seven minutes. What is given up is looked at again with the next change or resync."""

FAILED = "ReconcileFailed"
"""The condition that says so; the next reconcile that succeeds writes the conditions without it."""


class Setbacks:
    """Counts of this process."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self._conflicts: dict[Key, int] = {}

    def conflict(self, key: Key, reason: str) -> Retry | None:
        """Look again almost at once. None: it is a failure like others."""
        self._conflicts[key] = self._conflicts.get(key, 0) + 1
        return Retry(CONFLICT_RETRY_S, reason) if self._conflicts[key] <= CONFLICTS else None

    def retry(self, key: Key, reason: str) -> Retry:
        """Each failure in a row doubles the wait."""
        failures = self._counts.get(key, 0)
        self._counts[key] = failures + 1
        return Retry(min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures, 10)), reason)

    def is_to_be_told(self, key: Key) -> bool:
        return self._counts.get(key, 0) >= TOLD_AFTER

    def give_up(self, key: Key, reason: str) -> Reject | None:
        """When it is time to. The count begins anew."""
        if self._counts.get(key, 0) < GIVEN_UP_AFTER:
            return None
        return Reject(f"given up after {self._counts.pop(key)} failures in a row: {reason}")

    def forget(self, key: Key) -> None:
        self._counts.pop(key, None)
        self._conflicts.pop(key, None)


def with_failure(seen: Resource, before: Resource, reason: str, now: float) -> Resource:
    """`seen`: the object with what was observed of it, which holds although not all that follows from it could be done;
    `before`: as it is stored. Its status says that its reconcile fails; without a `reason`, what it has said so far of
    that. Every kind that is reconciled has conditions."""
    status, former = seen.status, before.status.conditions  # type: ignore[attr-defined]
    told = tuple(one for one in former if one.type == FAILED)
    if reason:
        failed = condition(FAILED, True, "Failing", f"{reason}; it is tried again")
        told = updated(former, [failed], generation=before.metadata.generation, now=timestamp(now))
    others = tuple(one for one in status.conditions if one.type != FAILED)
    return seen.model_copy(update={"status": status.model_copy(update={"conditions": others + told})})
