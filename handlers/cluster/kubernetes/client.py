"""What the command line asks of a Kubernetes cluster: the same calls as the local cluster's `ClusterClient`, each one
answered by the API server itself, without a cache."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.cluster_client import Manifest, Sighting
from matrixinfer.bus.cluster_client import Refused as RefusedByCluster
from matrixinfer.bus.contracts.cluster import AppliedObject, Outcome, RefusalCode
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import KINDS, find_kind
from matrixinfer.handlers.cluster.kubernetes import requests
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.cluster.kubernetes.errors import Refused
from matrixinfer.handlers.cluster.kubernetes.followed import followed
from matrixinfer.handlers.errors import BadManifest

PAGE = "500"
MANAGER = "matrixinfer-cli"
"""People's part of an object is theirs, apart from what the handlers write."""
_CODES: dict[int, RefusalCode] = {404: "not_found", 409: "conflict", 400: "invalid", 422: "invalid"}


class KubernetesClient:
    """`open` it, `close` it at the end. Every call raises the Refused of `ClusterClient`, and Unavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, clock: Clock, *, kubeconfig: str = "", context: str = "") -> KubernetesClient:
        """Raises Misconfigured."""
        return cls(await Connection.open(clock, kubeconfig=kubeconfig, context=context))

    async def close(self) -> None:
        await self._connection.close()

    async def apply(self, manifests: str, namespace: str = "default") -> list[AppliedObject]:
        """Create or change what the YAML describes; nothing is applied when any document is wrong in itself."""
        return await self._apply(manifests, namespace, {})

    async def preview(self, manifests: str, namespace: str = "default") -> list[AppliedObject]:
        """What `apply` would do, by the server's own dry run: webhooks are asked, nothing is stored."""
        return await self._apply(manifests, namespace, {"dryRun": "All"})

    async def _apply(self, manifests: str, namespace: str, query: dict[str, str]) -> list[AppliedObject]:
        try:
            resources = parse_manifests(manifests, namespace)
        except BadManifest as error:
            raise RefusedByCluster("invalid", error.problems) from error
        return [await self._apply_one(resource, query) for resource in resources]

    async def watch(self, kind: str, namespace: str = "", name: str = "") -> AsyncGenerator[list[Sighting], None]:
        """First everything that is there, by namespace and name, then each change; `aclose` it. A `name` is of one
        `namespace`."""
        found = followed(self._connection, KINDS[_kind(kind)], namespace, name)
        try:
            async with contextlib.aclosing(found):
                async for sightings in found:
                    yield sightings
        except Refused as refusal:
            raise _refused(refusal) from refusal

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return await self._get(requests.object_path(KINDS[_kind(kind)], namespace, name))

    async def list(self, kind: str, namespace: str = "", labels: dict[str, str] | None = None) -> list[Manifest]:
        """All pages, ordered by namespace and name."""
        known = KINDS[_kind(kind)]
        query = {"limit": PAGE}
        if labels:
            query["labelSelector"] = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        found: list[Manifest] = []
        while True:
            page = await self._ask("GET", requests.collection_path(known, namespace or None), query)
            of_kind = {"apiVersion": known.api_version, "kind": known.name}
            found += [of_kind | item for item in page["items"]]  # the items of a list do not name it
            if not page["metadata"].get("continue"):
                return sorted(found, key=_place)
            query["continue"] = page["metadata"]["continue"]

    async def set_status(self, kind: str, namespace: str, name: str, uid: str, status: Manifest) -> Manifest:
        path = requests.object_path(KINDS[_kind(kind)], namespace, name)
        current = await self._ask("GET", path)
        if current["metadata"]["uid"] != uid:
            raise RefusedByCluster("conflict", [f"{kind} {namespace}/{name} is another object now"])
        return await self._ask("PUT", f"{path}/status", {"fieldManager": MANAGER}, current | {"status": status})

    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> bool:
        """False when there was nothing to delete. A Pod is gone only after its processes ended."""
        path = requests.object_path(KINDS[_kind(kind)], namespace, name)
        try:
            await self._ask("DELETE", path, body=requests.delete_options(uid))
        except RefusedByCluster as refused:
            if refused.code == "not_found":
                return False
            raise
        return True

    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        follow: bool = False,
        tail: int | None = None,
        previous: bool = False,
    ) -> AsyncIterator[str]:
        """Line by line, of what is there the last `tail`; with `follow` until the container has ended; with `previous`
        of its run before this one."""
        query = {"previous": "true"} if previous else {}
        query |= {"follow": str(follow).lower()} | ({"container": container} if container else {})
        query |= {"tailLines": str(tail)} if tail is not None else {}
        path = requests.object_path(KINDS["Pod"], namespace, pod, "log")
        try:
            async with contextlib.aclosing(self._connection.lines(path, query, silent_s=86_400.0)) as lines:
                async for line in lines:
                    yield line.decode(errors="replace")
        except Refused as refusal:
            raise _refused(refusal) from refusal

    async def _apply_one(self, resource: Resource, query: dict[str, str]) -> AppliedObject:
        path, (kind, namespace, name) = requests.path_of(resource), resource.key
        before = await self._get(path)
        query = {"fieldManager": MANAGER, "force": "true"} | query
        after = await self._ask("PATCH", path, query, requests.applied_body(resource), requests.APPLY)
        return AppliedObject(kind, namespace, name, _outcome(before, after))

    async def _get(self, path: str) -> Manifest | None:
        try:
            return await self._ask("GET", path)
        except RefusedByCluster as refused:
            if refused.code == "not_found":
                return None
            raise

    async def _ask(self, method: str, path: str, *rest: Any, body: Manifest | None = None) -> Manifest:
        try:
            if body is not None:
                return await self._connection.call(method, path, body=body)
            return await self._connection.call(method, path, *rest)
        except Refused as refusal:
            raise _refused(refusal) from refusal


def _kind(name: str) -> str:
    try:
        return find_kind(name).name
    except BadManifest as error:
        raise RefusedByCluster("invalid", error.problems) from error


def _refused(refusal: Refused) -> RefusedByCluster:
    return RefusedByCluster(_CODES.get(refusal.status, "unavailable"), [refusal.message])


def _outcome(before: Manifest | None, after: Manifest) -> Outcome:
    if before is None or before["metadata"]["uid"] != after["metadata"]["uid"]:
        return "created"
    return "unchanged" if _applied_part(before) == _applied_part(after) else "configured"


def _applied_part(body: Manifest) -> str:
    """What an apply can change. Not the version: other people's writes of the status change it too."""
    metadata = {name: body["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences")}
    content = {name: value for name, value in body.items() if name not in ("status", "metadata")}
    return json.dumps([metadata, content], sort_keys=True)


def _place(body: Manifest) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]
