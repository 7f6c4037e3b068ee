"""When somebody counts as gone: nobody answered to their name for a while, and all that while we could have heard them.

A broken connection, a slow answer or a lease that ran out says nothing about the other side; only "no responders",
again and again over one unbroken connection, does. Pure: the caller asks, and feeds what it heard.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Literal, TypeVar

from matrixinfer.bus.errors import BusError, NobodyThere, TimedOut

K = TypeVar("K", bound=Hashable)

Heard = Literal["answered", "nobody", "unknown"]


def heard(error: BusError | None) -> Heard:
    """What a request's end tells of the one who was asked: `None` is an answer, and so is a late one (TimedOut)."""
    if error is None or isinstance(error, TimedOut):
        return "answered"
    return "nobody" if isinstance(error, NobodyThere) else "unknown"


class AbsenceRule(Generic[K]):
    """Remembers for each key since when nobody answered. All times are monotonic seconds.

    A key is gone when two observations `nobody`, at least `limit_s` apart, stand with no other between them and the
    connection was unbroken from the first to the second. So it takes at least two questions.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._nobody_since: dict[K, float] = {}

    def observe(self, key: K, now: float, outcome: Heard, link_up_since: float | None) -> bool:
        """Take in what was heard at `now`; True when the key is gone. `link_up_since` is `Link.up_since()`."""
        if outcome != "nobody" or link_up_since is None:
            self._nobody_since.pop(key, None)
            return False
        since = self._nobody_since.setdefault(key, now)
        if link_up_since > since:  # the connection broke in between: what was heard before it counts no more
            self._nobody_since[key] = now
            return False
        return now - since >= self._limit_s

    def forget(self, key: K) -> None:
        """Stop following `key`; does nothing for one not known."""
        self._nobody_since.pop(key, None)

    def keep_only(self, keys: set[K]) -> None:
        """Forget all others, so that the memory is bounded by those who matter."""
        for key in self._nobody_since.keys() - keys:
            del self._nobody_since[key]
