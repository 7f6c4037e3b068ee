"""The local cluster's door: answers on `mi.cluster.<verb>`, and checks what people apply before it is applied."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.cluster import (
    Applied,
    AppliedObject,
    Apply,
    Delete,
    Deleted,
    DoorReply,
    Get,
    ListObjects,
    Objects,
    Outcome,
    Refusal,
    RefusalCode,
    SetStatus,
    Verb,
    object_key,
)
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal, Subscription
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import find_kind
from matrixinfer.handlers.cluster.port import Cluster
from matrixinfer.handlers.errors import BadManifest, ClusterError, Conflicted, NotFound

logger = logging.getLogger("matrixinfer.handlers.cluster.door")

GROUP = "cluster"
PAGE_BYTES = 4 * 1024 * 1024
"""A page of `list` ends here at the latest: a message has a limit."""

M = TypeVar("M")
Answer = Callable[[M], Awaitable[DoorReply]]


class Door:
    """Serves from `open` to `close`; every handlers process may, one of them gets each question."""

    def __init__(self, bus: Bus, cluster: Cluster) -> None:
        self._bus = bus
        self._cluster = cluster
        self._subscriptions: list[Subscription] = []
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Open until cancelled."""
        try:
            await self.open()
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def open(self) -> None:
        await self._serve("apply", Apply, self._apply)
        await self._serve("get", Get, self._get)
        await self._serve("list", ListObjects, self._list)
        await self._serve("status", SetStatus, self._set_status)
        await self._serve("delete", Delete, self._delete)

    async def close(self) -> None:
        """What was asked is still answered."""
        for subscription in self._subscriptions:
            await subscription.close()
        await asyncio.gather(*self._answers)

    # -- the verbs
    async def _apply(self, message: Apply) -> DoorReply:
        # in a thread: a large text takes seconds, and this loop dispatches requests too
        resources = await asyncio.to_thread(parse_manifests, message.manifests, message.namespace)
        return Applied([await self._apply_one(resource) for resource in resources])

    async def _apply_one(self, resource: Resource) -> AppliedObject:
        kind, namespace, name = resource.key
        before = self._cluster.get(type(resource), namespace, name)
        after = await self._cluster.apply(resource)
        return AppliedObject(kind, namespace, name, _outcome(before, after))

    async def _get(self, message: Get) -> DoorReply:
        kind = find_kind(message.kind)
        resource = self._cluster.get(kind.type, message.namespace, message.name)
        if resource is None:
            raise NotFound(f"{kind.name} {message.namespace}/{message.name} is not there")
        return Objects([_json(resource)])

    async def _list(self, message: ListObjects) -> DoorReply:
        kind = find_kind(message.kind)
        found = self._cluster.list(kind.type, message.namespace or None, message.labels)
        rest = [resource for resource in sorted(found, key=_place) if _place(resource) > message.after]
        return _page(rest, message.limit)

    async def _set_status(self, message: SetStatus) -> DoorReply:
        kind = find_kind(message.kind)
        current = self._cluster.get(kind.type, message.namespace, message.name)
        if current is None:
            raise NotFound(f"{kind.name} {message.namespace}/{message.name} is not there")
        metadata = current.metadata.model_copy(update={"uid": message.uid})
        body = current.to_json() | {"status": json.loads(message.status)}
        resource = kind.type.read(body).model_copy(update={"metadata": metadata})
        return Objects([_json(await self._cluster.update_status(resource))])

    async def _delete(self, message: Delete) -> DoorReply:
        kind = find_kind(message.kind)
        uid = message.uid or None
        return Deleted(await self._cluster.delete(kind.type, message.namespace, message.name, uid=uid))

    # -- the door itself
    async def _serve(self, verb: Verb, kind: type[M], answer: Answer[M]) -> None:
        async def handle(signal: Signal) -> None:
            task = asyncio.create_task(_respond(signal, kind, answer), name=f"door {verb}")
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

        subject = self._bus.subjects.cluster(verb)
        self._subscriptions.append(await self._bus.signals.subscribe(subject, handle, group=GROUP))


async def _respond(signal: Signal, kind: type[M], answer: Answer[M]) -> None:
    """The one who asks always gets an answer; only a broken bus can prevent it."""
    try:
        reply = await _reply(signal, kind, answer)
        await signal.respond(encode(reply))
    except BusError as error:
        logger.warning("an answer on %s was lost: %s", signal.subject, error)


async def _reply(signal: Signal, kind: type[M], answer: Answer[M]) -> DoorReply:
    try:
        return await answer(decode(signal.data, kind))
    except BadManifest as error:
        return Refusal("invalid", error.problems)
    except (BusError, ClusterError, ValueError) as error:
        return Refusal(_code(error), [str(error)])
    except Exception:
        logger.exception("the request on %s met a defect", signal.subject)
        return Refusal("unavailable", ["the handlers met a defect; their log has the traceback"])


def _code(error: BusError | ClusterError | ValueError) -> RefusalCode:
    match error:
        case NotFound():
            return "not_found"
        case Conflicted():
            return "conflict"
        case Malformed() | ValueError():
            return "invalid"
    return "unavailable"


def _outcome(before: Resource | None, after: Resource) -> Outcome:
    if before is None or before.metadata.uid != after.metadata.uid:
        return "created"
    return "unchanged" if _applied_part(before) == _applied_part(after) else "configured"


def _applied_part(resource: Resource) -> tuple[object, ...]:
    metadata = resource.metadata
    return metadata.generation, metadata.labels, metadata.annotations, metadata.owner_references


def _page(resources: list[Resource], limit: int) -> Objects:
    objects: list[bytes] = []
    size = 0
    for resource in resources:
        if len(objects) >= max(1, limit) or size >= PAGE_BYTES:
            return Objects(objects, more=_place(resources[len(objects) - 1]))
        objects.append(_json(resource))
        size += len(objects[-1])
    return Objects(objects)


def _place(resource: Resource) -> str:
    """Where the resource stands in the order of a list."""
    return object_key(*resource.key)


def _json(resource: Resource) -> bytes:
    return json.dumps(resource.to_json()).encode()
