"""What this process knows of the objects: fed by one watch of the bucket, and at once by its own writes.

One watch for all kinds, so that an owner is known before what it owns. The watch lags behind our own writes:

    we put r12 ──► cache holds r12 (unconfirmed) ──► the watch brings r11 (older: ignored) ──► r12 (confirmed)
    we delete the r12 ──► cache empty, grave r12 ──► the watch brings r12 (not above the grave: ignored) ──► gone

Where no write of ours is open the watch is right, whatever the revision: a bucket made again counts from 1.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from matrixinfer.bus.ports.store import Change, Entry
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.port import ObjectChange
from matrixinfer.handlers.errors import Unreadable

logger = logging.getLogger("matrixinfer.handlers.cluster.local.cache")


@dataclass(frozen=True)
class Cached:
    """One object: as stored, and as a resource unless this version cannot read it (`problem` says why)."""

    revision: int
    resource: Resource | None
    problem: str = ""

    def readable(self) -> Resource:
        if self.resource is None:
            raise Unreadable(self.problem)
        return self.resource


class Cache:
    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Cached]] = {kind: {} for kind in KINDS}
        self._unconfirmed: set[str] = set()
        self._graves: dict[str, int] = {}
        self._watchers: list[tuple[frozenset[str], asyncio.Queue[ObjectChange]]] = []

    def get(self, kind: str, key: str) -> Cached | None:
        return self._kinds[kind].get(key)

    def select(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> Iterator[Resource]:
        """Only what can be read."""
        wanted = labels.items()
        for resource in (cached.resource for cached in self._kinds[kind].values() if cached.resource is not None):
            metadata = resource.metadata
            if (namespace is None or metadata.namespace == namespace) and wanted <= metadata.labels.items():
                yield resource

    # -- what the watch brings
    def load(self, entries: Mapping[str, Entry]) -> None:
        for key, entry in entries.items():
            self.saw(Change(key, entry))

    def saw(self, change: Change) -> None:
        if _kind_of(change.key) is None:
            return
        if change.entry is not None:
            self._saw_value(change.key, change.entry)
        elif change.key not in self._unconfirmed:
            self._take(change.key, None)

    def _saw_value(self, key: str, entry: Entry) -> None:
        held = self._kinds[key.split(".", 1)[0]].get(key)
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
        held = self._kinds[entry.key.split(".", 1)[0]].get(entry.key)
        if held is None or entry.revision > held.revision:
            self._unconfirmed.add(entry.key)
            self._graves.pop(entry.key, None)
            self._set(entry.key, entry)

    def deleted(self, key: str, revision: int) -> None:
        """`revision` is the one that was deleted."""
        held = self._kinds[key.split(".", 1)[0]].get(key)
        if held is None or held.revision <= revision:
            self._unconfirmed.discard(key)
            self._graves[key] = revision
            self._set(key, None)

    def in_doubt(self) -> list[str]:
        """Keys whose last write by this process the watch has not brought; after a reconnect it may never."""
        return [*self._unconfirmed, *self._graves]

    def settle(self, key: str, entry: Entry | None) -> None:
        """The truth about a key in doubt, just read from the bucket."""
        held = self._kinds[key.split(".", 1)[0]].get(key)
        if entry is not None and held is not None and entry.revision == held.revision:
            self._unconfirmed.discard(key)
        else:
            self._take(key, entry)

    # -- who wants to know
    async def changes(self, kinds: Iterable[str]) -> AsyncIterator[ObjectChange]:
        wanted = frozenset(kinds)
        queue: asyncio.Queue[ObjectChange] = asyncio.Queue()
        for kind in wanted:
            for cached in self._kinds[kind].values():
                if cached.resource is not None:
                    queue.put_nowait(ObjectChange(None, cached.resource))
        watcher = (wanted, queue)
        self._watchers.append(watcher)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.remove(watcher)

    def _set(self, key: str, entry: Entry | None) -> None:
        kind = key.split(".", 1)[0]
        held = self._kinds[kind].pop(key, None)
        if entry is not None:
            self._kinds[kind][key] = read(entry)
        after = self._kinds[kind][key].resource if entry is not None else None
        before = held.resource if held is not None else None
        if before is None and after is None:
            return
        for kinds, queue in self._watchers:
            if kind in kinds:
                queue.put_nowait(ObjectChange(before, after))


def read(entry: Entry) -> Cached:
    """The entry as an object; what cannot be read is kept with its problem, and logged once, here."""
    kind, namespace, name = parse_key(entry.key)
    try:
        body: dict[str, Any] = json.loads(entry.value)
        body["metadata"]["resourceVersion"] = str(entry.revision)
        resource = KINDS[kind].type.read(body)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        problem = f"{kind} {namespace}/{name} cannot be read by this version: {error}"
        logger.error("%s", problem)
        return Cached(entry.revision, None, problem)
    return Cached(entry.revision, resource)


def _kind_of(key: str) -> str | None:
    """None for the kinds of another version: they are nobody's here."""
    kind, *rest = key.split(".")
    return kind if kind in KINDS and len(rest) == 2 else None
