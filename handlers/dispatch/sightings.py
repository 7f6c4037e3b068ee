"""What agents have of a predecessor's placements, until its requests have come again and can be compared with it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.handlers.dispatch.request import RequestKey


class Seen(IntEnum):
    """The larger one decides when several agents know the same request."""

    REFUSED = 0
    WAITING = 1
    SETTLED = 2
    """Started or ended."""


class Sighting(NamedTuple):
    """Ordered: by what was seen, then by the hop, so that the newest waiting copy is the one adopted."""

    seen: Seen
    hop: int
    pod: str
    boot: str
    phase: str


class Sightings:
    """Collects only while `is_open`: from a takeover until the requests stored before it have all come."""

    def __init__(self) -> None:
        self.is_open = False
        self._seen: dict[RequestKey, Sighting] = {}

    def open(self) -> None:
        self.is_open = True
        self._seen.clear()

    def close(self) -> None:
        self.is_open = False
        self._seen.clear()

    def note(self, pod: str, boot: str, works: Iterable[WorkKey], seen: Seen) -> None:
        if not self.is_open:
            return
        for work in works:
            key = (work.rid, work.attempt)
            new = Sighting(seen, work.hop, pod, boot, work.phase)
            old = self._seen.get(key)
            same_work = old is not None and old[1:] == new[1:]
            self._seen[key] = new if old is None or same_work else max(old, new)

    def note_ends(self, pod: str, boot: str, ends: Iterable[Finished]) -> None:
        for end in ends:
            refused = end.outcome == "refused" and not end.started
            self.note(pod, boot, [end.key], Seen.REFUSED if refused else Seen.SETTLED)

    def take(self, key: RequestKey) -> Sighting | None:
        """What was seen of the request; it is forgotten by this."""
        return self._seen.pop(key, None)
