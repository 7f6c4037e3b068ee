"""What an Event says and how often one may be written: pure, the same for every adapter.

The name of an Event is made of what it says, so the same one again, from whichever process, meets the one that is
there and is counted. An object that goes on and on about something else each time has a budget.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from matrixinfer.handlers.api.event import Event, EventSource, ObjectReference
from matrixinfer.handlers.api.meta import Metadata, Resource
from matrixinfer.handlers.api.times import timestamp

SOURCE = "matrixinfer"
TTL_S = 3600.0
"""As Kubernetes' API server by default."""
MOST_MESSAGE = 1024
"""Characters that Kubernetes takes."""
BURST = 25
"""Events that one object may write at once; the numbers are those of Kubernetes' own clients."""
REFILL_S = 300.0
"""Seconds after which an object may write one more."""
MOST_OBJECTS = 4096
"""Objects whose budget is remembered; the one that was silent longest is forgotten first."""


def event_about(about: Resource, reason: str, message: str, *, is_warning: bool, now: float) -> Event:
    """The first of its kind."""
    metadata = about.metadata
    kind = "Warning" if is_warning else "Normal"
    said = "\n".join((about.kind, metadata.uid, kind, reason, message))
    digest = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
    when = timestamp(now)
    return Event(
        metadata=Metadata(name=f"{metadata.name[:200].rstrip('.-')}.{digest}", namespace=metadata.namespace),
        involved_object=ObjectReference(
            api_version=about.api_version,
            kind=about.kind,
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        ),
        reason=reason,
        message=message if len(message) <= MOST_MESSAGE else message[: MOST_MESSAGE - 1] + "…",
        type="Warning" if is_warning else "Normal",
        first_timestamp=when,
        last_timestamp=when,
        source=EventSource(component=SOURCE),
    )


def again(before: Event, latest: Event) -> Event:
    """It happened once more."""
    return before.model_copy(update={"count": before.count + 1, "last_timestamp": latest.last_timestamp})


class Budget:
    """A token bucket for each object."""

    def __init__(self, burst: int = BURST, refill_s: float = REFILL_S) -> None:
        self._burst = float(burst)
        self._refill_s = refill_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, uid: str, now: float) -> bool:
        """Takes one where there is one."""
        left, since = self._left.pop(uid, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - since) / self._refill_s)
        is_allowed = left >= 1.0
        self._left[uid] = (left - 1.0 if is_allowed else left, now)
        while len(self._left) > MOST_OBJECTS:
            self._left.popitem(last=False)
        return is_allowed
