"""The objects of the platform that runs here, as commands want them: also what an apply would do, and what changes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.cluster_client import ClusterClient, Manifest, Sighting
from matrixinfer.bus.contracts.cluster import AppliedObject, Outcome
from matrixinfer.bus.ports.store import Entry
from matrixinfer.bus.subjects import key
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import find_kind
from matrixinfer.handlers.cluster.local import merge


class LocalObjects(ClusterClient):
    """Reads the bucket OBJECTS for what nobody needs to be asked about; writes by the door like everybody."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self._store = bus.store("OBJECTS")

    async def preview(self, manifests: str, namespace: str = "default") -> list[AppliedObject]:
        """What `apply` would do, by the same rules. Raises BadManifest, Conflicted."""
        resources = parse_manifests(manifests, namespace)
        return [AppliedObject(*resource.key, await self._outcome(resource)) for resource in resources]

    async def watch(self, kind: str, namespace: str = "", name: str = "") -> AsyncGenerator[list[Sighting], None]:
        """First everything that is there, by namespace and name, then each change; `aclose` it. A `name` is of one
        `namespace`. Raises BadManifest for a kind that is none."""
        watch = await self._store.watch(key(find_kind(kind).name, *(part for part in (namespace, name) if part)))
        try:
            held = {at: _manifest(entry) for at, entry in sorted(watch.snapshot.items())}
            yield [Sighting(one) for one in held.values()]
            async for change in watch:
                if change.entry is not None:
                    held[change.key] = _manifest(change.entry)
                    yield [Sighting(held[change.key])]
                elif change.key in held:
                    yield [Sighting(held.pop(change.key), is_gone=True)]
        finally:
            await watch.close()

    async def _outcome(self, resource: Resource) -> Outcome:
        entry = await self._store.get(key(*resource.key))
        if entry is None:
            return "created"
        current = json.loads(entry.value)
        return "unchanged" if merge.applied(current, resource.to_json()) is current else "configured"


def _manifest(entry: Entry) -> Manifest:
    manifest: Manifest = json.loads(entry.value)
    manifest["metadata"]["resourceVersion"] = str(entry.revision)
    return manifest
