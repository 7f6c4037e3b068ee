"""The port on the bucket OBJECTS: compare-and-set instead of an API server."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, cast

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.errors import Conflict
from matrixinfer.bus.ports.store import Change, Entry, Store, Watch
from matrixinfer.handlers.api.meta import GROUP_VERSION, Resource
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.events import event_about
from matrixinfer.handlers.cluster.local import merge
from matrixinfer.handlers.cluster.local.cache import Cache, read
from matrixinfer.handlers.cluster.local.recorder import Recorder
from matrixinfer.handlers.cluster.port import ObjectChange, R
from matrixinfer.handlers.errors import ClusterError, Conflicted, NotFound

logger = logging.getLogger("matrixinfer.handlers.cluster.local.adapter")

ATTEMPTS = 20
"""Compare-and-sets that may lose against other writers of one object before the caller is told."""

Edit = Callable[[merge.Body | None], merge.Body]


class LocalCluster:
    """`open` it, keep `run` running, use it as a Cluster."""

    def __init__(self, bus: Bus, store: Store, watch: Watch) -> None:
        self._bus = bus
        self._store = store
        self._watch = watch
        self.cache = Cache()
        self._recorder = Recorder(bus, self.cache, _new_uid)
        self.cache.load(watch.snapshot)
        bus.link.on_restored(self._settle)

    @classmethod
    async def open(cls, bus: Bus) -> LocalCluster:
        """With everything read that is there now. Raises Unavailable."""
        store = bus.store("OBJECTS")
        return cls(bus, store, await store.watch())

    async def run(self) -> None:
        """Keep the cache current until cancelled. Raises ClusterError when the watch ends by itself."""
        try:
            async for change in self._watch:
                self.cache.saw(change)
        finally:
            await self._watch.close()
        raise ClusterError("the watch of OBJECTS ended: the connection to the bus was closed")

    # -- the port
    def get(self, kind: type[R], namespace: str, name: str) -> R | None:
        cached = self.cache.get(kind.__name__, object_key(kind.__name__, namespace, name))
        return None if cached is None else cast(R, cached.readable())

    def list(self, kind: type[R], namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[R]:
        return cast("list[R]", list(self.cache.select(kind.__name__, namespace, labels or {})))

    async def apply(self, resource: R) -> R:
        desired = resource.to_json()

        def edit(current: merge.Body | None) -> merge.Body:
            if current is not None:
                return merge.applied(current, desired)
            if resource.metadata.uid:
                raise Conflicted(f"{merge.named(desired)} is gone: expected uid {resource.metadata.uid}")
            return merge.created(desired, uid=_new_uid(), now=self._bus.clock.now())

        return await self._edit(resource, edit)

    async def update_status(self, resource: R) -> R:
        body = resource.to_json()

        def edit(current: merge.Body | None) -> merge.Body:
            if current is None:
                raise NotFound(f"{merge.named(body)} is not there; its status cannot be written")
            return merge.with_status(current, body.get("status", {}), resource.metadata.uid)

        return await self._edit(resource, edit)

    async def delete(self, kind: type[Resource], namespace: str, name: str, *, uid: str | None = None) -> bool:
        key = object_key(kind.__name__, namespace, name)
        for _ in range(ATTEMPTS):
            entry = await self._store.get(key)
            if entry is None:
                return False
            body = json.loads(entry.value)
            merge.check_uid(body, uid)
            try:
                await self._take_away(entry, body)
            except Conflict:
                continue
            return True
        raise Conflicted(f"{kind.__name__} {namespace}/{name} changes too often to be deleted; try again")

    async def reaches(self, kind: type[Resource], resource_version: str, timeout_s: float) -> bool:
        """One watch brings every kind. A version that is no number was never given by this cluster."""
        return resource_version.isdecimal() and await self.cache.seen.reaches(int(resource_version), timeout_s)

    async def record(self, about: Resource, reason: str, message: str, *, is_warning: bool = False) -> None:
        now = self._bus.clock.now()
        await self._recorder.record(event_about(about, reason, message, is_warning=is_warning, now=now))

    def serves(self, kind: type[Resource]) -> bool:
        """Not the kinds of other people's controllers, which run nowhere but on Kubernetes."""
        group = kind.API_VERSION.rpartition("/")[0]
        return "." not in group or kind.API_VERSION == GROUP_VERSION

    def watch(self, kinds: Iterable[type[Resource]]) -> AsyncIterator[ObjectChange]:
        return self.cache.changes(kind.__name__ for kind in kinds)

    # -- writing
    async def _edit(self, resource: R, edit: Edit) -> R:
        key = object_key(*resource.key)
        for _ in range(ATTEMPTS):
            entry = await self._store.get(key)
            current = None if entry is None else json.loads(entry.value)
            after = edit(current)
            if entry is not None and after is current:
                return cast(R, read(entry).readable())
            try:
                written = await self._put(key, after, entry.revision if entry is not None else 0)
            except Conflict:
                continue
            return cast(R, read(written).readable())
        raise Conflicted(f"{merge.named(resource.to_json())} changes too often to be written; try again")

    async def _put(self, key: str, body: dict[str, Any], revision: int) -> Entry:
        value = json.dumps(body, separators=(",", ":")).encode()
        entry = Entry(key, value, await self._store.put(key, value, revision=revision))
        self.cache.wrote(Change.to(entry))
        return entry

    async def _take_away(self, entry: Entry, body: dict[str, Any]) -> None:
        is_run_by_somebody = body.get("spec", {}).get("nodeName")
        if KINDS[body["kind"]].is_graceful and is_run_by_somebody:
            marked = merge.marked_deleted(body, now=self._bus.clock.now())
            if marked is not body:
                await self._put(entry.key, marked, entry.revision)
            return
        revision = await self._store.delete(entry.key, revision=entry.revision)
        self.cache.wrote(Change(entry.key, None, revision))

    async def _settle(self) -> None:
        """After a reconnect the watch brings differences to what it had seen, which may leave out our own writes."""
        for key, revision in self.cache.in_doubt().items():
            self.cache.settle(key, revision, await self._store.get(key))


def _new_uid() -> str:
    return str(uuid.uuid4())
