"""Deletes what has lost its owner, as Kubernetes' garbage collector does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.errors import BusError
from matrixinfer.handlers.api.meta import OwnerReference, Resource
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.port import Cluster
from matrixinfer.handlers.errors import ClusterError, Conflicted

logger = logging.getLogger("matrixinfer.handlers.cluster.local.garbage")

RETRY_S = 1.0
_TYPES = [kind.type for kind in KINDS.values()]


def orphans(resources: Iterable[Resource]) -> list[Resource]:
    """Those of whose owners none is there, and that are not going already. Pure."""
    known = list(resources)
    alive = {resource.metadata.uid for resource in known}
    return [
        resource
        for resource in known
        if resource.metadata.owner_references
        and not resource.is_terminating
        and not any(owner.uid in alive for owner in resource.metadata.owner_references)
    ]


class GarbageCollector:
    """Any number of processes may run one: what two of them delete is deleted once."""

    def __init__(self, bus: Bus, cluster: Cluster) -> None:
        self._clock = bus.clock
        self._store = bus.store("OBJECTS")
        self._cluster = cluster
        self._due = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._work())

    async def _listen(self) -> None:
        async for change in self._cluster.watch(_TYPES):
            came = change.after if change.before is None else None
            if change.after is None or (came is not None and came.metadata.owner_references):
                self._due.set()

    async def _work(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._sweep()
            except (BusError, ClusterError) as error:
                logger.warning("garbage collection did not finish and is tried again in %g s: %s", RETRY_S, error)
                self._due.set()
                await self._clock.sleep(RETRY_S)

    async def _sweep(self) -> None:
        everything = [resource for kind in _TYPES for resource in self._cluster.list(kind)]
        for orphan in orphans(everything):
            if await self._has_lost_its_owners(orphan):
                await self._delete(orphan)

    async def _has_lost_its_owners(self, orphan: Resource) -> bool:
        """The cache may know a child before its owner after a reconnect: ask the bucket itself."""
        namespace = orphan.metadata.namespace
        for owner in orphan.metadata.owner_references:
            if await self._is_there(owner, namespace):
                return False
        return True

    async def _is_there(self, owner: OwnerReference, namespace: str) -> bool:
        entry = await self._store.get(object_key(owner.kind, namespace, owner.name))
        return entry is not None and json.loads(entry.value)["metadata"].get("uid") == owner.uid

    async def _delete(self, orphan: Resource) -> None:
        kind, namespace, name = orphan.key
        try:
            await self._cluster.delete(type(orphan), namespace, name, uid=orphan.metadata.uid)
        except Conflicted:
            return  # somebody else deleted it and made a new one
        logger.info("deleted %s %s/%s: its owner is gone", kind, namespace, name)
