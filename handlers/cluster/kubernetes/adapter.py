"""The port on a Kubernetes API server: cached reads, server-side apply, deletes that mean one object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

from matrixinfer.bus.clock import Clock
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.events import event_about
from matrixinfer.handlers.cluster.known import Cached
from matrixinfer.handlers.cluster.kubernetes import requests
from matrixinfer.handlers.cluster.kubernetes.cache import Cache, key_of
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.cluster.kubernetes.errors import Refused
from matrixinfer.handlers.cluster.kubernetes.recorder import Recorder
from matrixinfer.handlers.cluster.kubernetes.reflector import Reflector
from matrixinfer.handlers.cluster.port import ObjectChange, R
from matrixinfer.handlers.errors import ClusterError, Conflicted, NotFound

logger = logging.getLogger("matrixinfer.handlers.cluster.kubernetes.adapter")

ATTEMPTS = 5
"""Of an apply that met another writer in the API server itself."""
FOLLOWED: tuple[type[Resource], ...] = tuple(kind.type for kind in KINDS.values() if kind.type is not Event)
"""Events are written and never read: there are more of them than of all the rest."""


class KubernetesCluster:
    """`open` it, keep `run` running, use it as a Cluster; `close` it at the end."""

    def __init__(self, connection: Connection, clock: Clock, kinds: Iterable[type[Resource]]) -> None:
        self.connection = connection
        self._clock = clock
        self._cache = Cache()
        self._recorder = Recorder(connection, clock)
        self._reflectors = {
            kind.__name__: Reflector(connection, self._cache, KINDS[kind.__name__], clock) for kind in kinds
        }

    @classmethod
    async def open(
        cls,
        clock: Clock,
        *,
        kubeconfig: str = "",
        context: str = "",
        kinds: Iterable[type[Resource]] = FOLLOWED,
    ) -> KubernetesCluster:
        """With everything read that is there now. Raises Misconfigured, Unavailable, ClusterError."""
        connection = await Connection.open(clock, kubeconfig=kubeconfig, context=context)
        cluster = cls(connection, clock, kinds)
        try:
            await asyncio.gather(*(reflector.load() for reflector in cluster._reflectors.values()))
        except BaseException:
            await connection.close()
            raise
        return cluster

    async def run(self) -> None:
        """Keep the cache current until cancelled, then close."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, reflector in self._reflectors.items():
                    group.create_task(reflector.run(), name=f"reflector {name}")
        finally:
            await self.close()

    async def close(self) -> None:
        """Safe to call twice."""
        await self.connection.close()

    # -- the port
    def get(self, kind: type[R], namespace: str, name: str) -> R | None:
        cached = self._cache.get(self._followed(kind), key_of(namespace, name))
        return None if cached is None else cast(R, cached.readable())

    def list(self, kind: type[R], namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[R]:
        return cast("list[R]", list(self._cache.select(self._followed(kind), namespace, labels or {})))

    async def apply(self, resource: R) -> R:
        query = {"fieldManager": requests.SPEC_MANAGER, "force": "true"}
        body = await self._patch(requests.path_of(resource), query, requests.applied_body(resource), resource)
        if body["metadata"].get("deletionTimestamp"):
            self._cache.wrote(resource.kind, body)
            raise Conflicted(f"{_named(resource)} is being deleted; apply it again when it is gone")
        return self._written(resource, body)

    async def update_status(self, resource: R) -> R:
        """In the status of a custom resource the API server does not look at the uid, but it does at the version: it is
        told one that was seen of that very uid."""
        path = requests.path_of(resource, "status")
        query = {"fieldManager": requests.STATUS_MANAGER, "force": "true"}
        version = self._held_version(resource)
        for _ in range(ATTEMPTS):
            version = version or await self._version_now(resource)
            try:
                body = await self.connection.call(
                    "PATCH", path, query, requests.status_body(resource, version), requests.APPLY
                )
            except Refused as refusal:
                if refusal.status != 409:
                    raise _meaning(refusal, resource) from refusal
                version = ""
            else:
                return self._written(resource, body)
        raise Conflicted(f"{_named(resource)} changes too often for its status to be written; try again")

    async def delete(self, kind: type[Resource], namespace: str, name: str, *, uid: str | None = None) -> bool:
        path = requests.object_path(KINDS[kind.__name__], namespace, name)
        before = self._cache.get(kind.__name__, key_of(namespace, name))
        try:
            answer = await self.connection.call("DELETE", path, body=requests.delete_options(uid))
        except Refused as refusal:
            if refusal.status == 404:
                return False
            if refusal.status == 409:
                message = f"{kind.__name__} {namespace}/{name} is another object now: expected uid {uid}"
                raise Conflicted(f"{message} ({refusal.message})") from refusal
            raise
        self._took_away(kind.__name__, key_of(namespace, name), answer, before)
        return True

    async def reaches(self, kind: type[Resource], resource_version: str, timeout_s: float) -> bool:
        """A version that is no number was never given by this cluster."""
        if not resource_version.isdecimal():
            return False
        return await self._cache.seen[self._followed(kind)].reaches(int(resource_version), timeout_s)

    async def record(self, about: Resource, reason: str, message: str, *, is_warning: bool = False) -> None:
        event = event_about(about, reason, message, is_warning=is_warning, now=self._clock.now())
        await self._recorder.record(event)

    def serves(self, kind: type[Resource]) -> bool:
        return self._reflectors[self._followed(kind)].is_served

    def watch(self, kinds: Iterable[type[Resource]]) -> AsyncIterator[ObjectChange]:
        return self._cache.changes([self._followed(kind) for kind in kinds])

    # -- writing
    async def _patch(
        self, path: str, query: Mapping[str, str], body: dict[str, Any], resource: Resource
    ) -> dict[str, Any]:
        for attempt in range(ATTEMPTS):
            try:
                return await self.connection.call("PATCH", path, query, body, requests.APPLY)
            except Refused as refusal:
                is_the_last = attempt == ATTEMPTS - 1
                if refusal.status != 409 or is_the_last or "uid mismatch" in refusal.message:
                    raise _meaning(refusal, resource) from refusal
        raise AssertionError

    def _held_version(self, resource: Resource) -> str:
        _, namespace, name = resource.key
        held = self._cache.get(resource.kind, key_of(namespace, name))
        return str(held.revision) if held is not None and held.uid == resource.metadata.uid else ""

    async def _version_now(self, resource: Resource) -> str:
        """Asked of the server; raises NotFound, and Conflicted for another uid."""
        try:
            body = await self.connection.call("GET", requests.path_of(resource))
        except Refused as refusal:
            raise _meaning(refusal, resource) from refusal
        uid, met = resource.metadata.uid, body["metadata"]["uid"]
        if uid and met != uid:
            raise Conflicted(f"{_named(resource)} is another object now: expected uid {uid}, met {met}")
        version: str = body["metadata"]["resourceVersion"]
        return version

    def _written(self, resource: R, body: dict[str, Any]) -> R:
        return cast(R, self._cache.wrote(resource.kind, body).readable())

    def _took_away(self, kind: str, key: str, answer: dict[str, Any], before: Cached | None) -> None:
        if requests.is_still_there(answer):
            self._cache.wrote(kind, answer)
            return
        is_status = answer.get("kind") == "Status"
        uid = answer.get("details", {}).get("uid") if is_status else answer["metadata"].get("uid")
        if uid:
            self._cache.deleted(kind, key, uid, before)

    def _followed(self, kind: type[Resource]) -> str:
        if kind.__name__ not in self._reflectors:
            raise ClusterError(f"{kind.__name__} is not followed by this process; name it among the kinds of `open`")
        return kind.__name__


def _meaning(refusal: Refused, resource: Resource) -> ClusterError:
    """The port's word for what the server said."""
    if refusal.status == 404:
        return NotFound(f"{_named(resource)} is not there: {refusal.message}")
    if refusal.status == 409 or (refusal.status == 422 and "metadata.uid" in refusal.message):
        return Conflicted(f"{_named(resource)} is another object now, or changes too often: {refusal.message}")
    if refusal.status == 422 and resource.kind == "Pod" and "pod updates may not" in refusal.message:
        return Conflicted(
            f"the spec of {_named(resource)} cannot change; delete it and apply it anew ({refusal.message})"
        )
    return refusal


def _named(resource: Resource) -> str:
    kind, namespace, name = resource.key
    return f"{kind} {namespace}/{name}"
