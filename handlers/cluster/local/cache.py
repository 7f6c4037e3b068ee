"""What this process knows of the objects: fed by one watch of the bucket, and at once by its own writes.

One watch for all kinds, so that an owner is known before what it owns. The watch lags behind our own writes:

    we put r12 ──► cache holds r12 (unconfirmed) ──► the watch brings r11 (older: ignored) ──► r12 (confirmed)
    we delete the r12 ──► cache empty, grave r12 ──► the watch brings r12 (not above the grave: ignored) ──► gone

Where no write of ours is open the watch is right, whatever the revision: a bucket made again counts from 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from matrixinfer.bus.ports.store import Change, Entry
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster import known
from matrixinfer.handlers.cluster.known import Cached, Known, Seen


class Cache(Known):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()
        self._unconfirmed: set[str] = set()
        self._graves: dict[str, int] = {}

    # -- what the watch brings
    def load(self, entries: Mapping[str, Entry]) -> None:
        for key, entry in entries.items():
            self.saw(Change(key, entry))

    def saw(self, change: Change) -> None:
        if _kind_of(change.key) is not None:
            self._believe(change)
        if change.entry is not None:
            self.seen.reached(change.entry.revision)

    def _believe(self, change: Change) -> None:
        if change.entry is not None:
            self._saw_value(change.key, change.entry)
        elif change.key not in self._unconfirmed:
            self._take(change.key, None)

    def _saw_value(self, key: str, entry: Entry) -> None:
        held = self.get(_kind(key), key)
        if key in self._unconfirmed and held is not None and entry.revision <= held.revision:
            if entry.revision == held.revision:
                self._unconfirmed.discard(key)
            return
        if entry.revision <= self._graves.get(key, 0):
            return
        self._take(key, entry)

    def _take(self, key: str, entry: Entry | None) -> None:
        """As it is in the bucket."""
        self._unconfirmed.discard(key)
        self._graves.pop(key, None)
        self._set(key, entry)

    # -- what this process did
    def wrote(self, entry: Entry) -> None:
        held = self.get(_kind(entry.key), entry.key)
        if held is None or entry.revision > held.revision:
            self._unconfirmed.add(entry.key)
            self._graves.pop(entry.key, None)
            self._set(entry.key, entry)

    def deleted(self, key: str, revision: int) -> None:
        """`revision` is the one that was deleted."""
        held = self.get(_kind(key), key)
        if held is None or held.revision <= revision:
            self._unconfirmed.discard(key)
            self._graves[key] = revision
            self._set(key, None)

    def in_doubt(self) -> list[str]:
        """Keys whose last write by this process the watch has not brought; after a reconnect it may never."""
        return [*self._unconfirmed, *self._graves]

    def settle(self, key: str, entry: Entry | None) -> None:
        """The truth about a key in doubt, just read from the bucket. The watch has brought all that is older."""
        held = self.get(_kind(key), key)
        if entry is not None and held is not None and entry.revision == held.revision:
            self._unconfirmed.discard(key)
        else:
            self._take(key, entry)
        if entry is not None:
            self.seen.reached(entry.revision)

    def _set(self, key: str, entry: Entry | None) -> None:
        self.put(_kind(key), key, read(entry) if entry is not None else None)


def read(entry: Entry) -> Cached:
    """The entry as an object; what cannot be read is kept with its problem."""
    kind, namespace, name = parse_key(entry.key)
    place = f"{namespace}/{name}"
    try:
        body = json.loads(entry.value)
    except ValueError as error:
        return Cached(entry.revision, None, f"{kind} {place} cannot be read by this version: {error}")
    return known.read(kind, place, body, entry.revision)


def _kind(key: str) -> str:
    return key.split(".", 1)[0]


def _kind_of(key: str) -> str | None:
    """None for the kinds of another version: they are nobody's here."""
    kind, *rest = key.split(".")
    return kind if kind in KINDS and len(rest) == 2 else None
