"""Buckets of small values, with compare-and-set and watches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Entry:
    """`revision` grows over the whole bucket with every change: a later write has a larger one."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True)
class Change:
    """A key got a value, or (`entry` is None) is gone, by deletion or by its time to live. It may be gone again before
    a watch has told that it was there.

    `revision` is the value's, or the one that its going has in the bucket (at least: after a reconnect it may be that
    of the bucket). One watch tells changes in the order of their revisions; a lower one than before means that the
    bucket was made anew."""

    key: str
    entry: Entry | None
    revision: int

    @classmethod
    def to(cls, entry: Entry) -> Change:
        return cls(entry.key, entry, entry.revision)


class Watch(Protocol):
    """A running watch: iterate it for the changes; iteration ends after `close`."""

    snapshot: dict[str, Entry]
    """What matched when the watch began; the changes follow on it without a gap."""

    def __aiter__(self) -> AsyncIterator[Change]: ...

    async def close(self) -> None:
        """Safe to call twice."""
        ...


class Store(Protocol):
    """One bucket. Keys are dotted tokens (`subjects.key`)."""

    async def get(self, key: str) -> Entry | None:
        """The value now, or None. Raises Unavailable."""
        ...

    async def put(self, key: str, value: bytes, *, revision: int | None = None, ttl_s: float | None = None) -> int:
        """Write; returns the new revision. `revision` None writes always; 0 only when the key is not there; else
        only when that is its revision. Raises Conflict, TooLarge, Unavailable. With `ttl_s` (at least 1) the key goes
        by itself that long after this write; a later put starts anew, with its own or no time to live."""
        ...

    async def delete(self, key: str, *, revision: int | None = None) -> int:
        """Remove; returns the revision that this has in the bucket. A key that is not there is no error (and the
        answer 0), unless `revision` says that it should be (Conflict)."""
        ...

    async def entries(self, prefix: str = "") -> dict[str, Entry]:
        """All that is there under `prefix` (whole tokens; "" for all)."""
        ...

    async def watch(self, prefix: str = "") -> Watch:
        """Follow `prefix`. After a reconnect the bucket is read again and differences come as changes, so a
        deletion that happened meanwhile is not missed; a change of a change may be."""
        ...
