"""What this process knows of the objects: fed by one watch of the bucket, and at once by its own writes.

One watch for all kinds, so that an owner is known before what it owns. The watch lags behind our own writes:

    we put r12 ──► cache holds r12 (on its way) ──► the watch brings r11 (older: ignored) ──► r12, or anything later

The bucket keeps one message of a key: when somebody deletes it as r13 in time, the watch brings r13 and never r12.
Where no write of ours is on its way the watch is right, whatever the revision: a bucket made again counts from 1.
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
        self._on_their_way: dict[str, int] = {}
        """The revisions of our own last writes, values and deletions, that the watch has not come to."""

    # -- what the watch brings
    def load(self, entries: Mapping[str, Entry]) -> None:
        for entry in sorted(entries.values(), key=lambda entry: entry.revision):
            self.saw(Change.to(entry))

    def saw(self, change: Change) -> None:
        if change.revision < self.seen.revision:  # the bucket was made anew, and our writes went with the old one
            self._on_their_way.clear()
            self.seen.starts_again(change.revision)
        if _kind_of(change.key) is not None:
            self._believe(change)
        self.seen.reached(change.revision)

    def _believe(self, change: Change) -> None:
        ours = self._on_their_way.get(change.key, 0)
        if change.revision >= ours:
            self._on_their_way.pop(change.key, None)
        if change.revision > ours or not ours:
            self._set(change.key, change.entry)

    # -- what this process did
    def wrote(self, change: Change) -> None:
        """Unless the watch was faster: it may already have brought what others did after it."""
        if change.revision > max(self.seen.revision, self._on_their_way.get(change.key, 0)):
            self._on_their_way[change.key] = change.revision
            self._set(change.key, change.entry)

    def in_doubt(self) -> dict[str, int]:
        """Keys and revisions of our last writes that the watch has not come to; after a reconnect it may never."""
        return dict(self._on_their_way)

    def settle(self, key: str, revision: int, entry: Entry | None) -> None:
        """The truth about a key whose write was in doubt, just read from the bucket."""
        if self._on_their_way.get(key) != revision:
            return  # written once more meanwhile, or the watch has come to it
        del self._on_their_way[key]
        if entry is None or entry.revision != revision:
            self._set(key, entry)

    def _set(self, key: str, entry: Entry | None) -> None:
        self.put(_kind(key), key, read(entry) if entry is not None else None)


def read(entry: Entry) -> Cached:
    """The entry as an object; what cannot be read is kept with its problem."""
    kind, namespace, name = parse_key(entry.key)
    place = f"{namespace}/{name}"
    try:
        body = json.loads(entry.value)
    except (ValueError, RecursionError) as error:  # also what is nested without an end
        return Cached(entry.revision, None, f"{kind} {place} cannot be read by this version: {error}")
    return known.read(kind, place, body, entry.revision)


def _kind(key: str) -> str:
    return key.split(".", 1)[0]


def _kind_of(key: str) -> str | None:
    """None for the kinds of another version: they are nobody's here."""
    kind, *rest = key.split(".")
    return kind if kind in KINDS and len(rest) == 2 else None
