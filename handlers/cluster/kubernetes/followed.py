"""Objects of one kind as a person follows them: one list, then a watch, with everything that the server says of them.

A watch that the server ended goes on where it was; where the server has forgotten that, or the connection broke, there
is another list, and its differences are told.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncGenerator
from typing import Any

from matrixinfer.bus.cluster_client import Manifest, Sighting
from matrixinfer.bus.errors import Unavailable
from matrixinfer.handlers.api.registry import Kind
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.cluster.kubernetes.errors import Refused, TooOld
from matrixinfer.handlers.cluster.kubernetes.reflector import PAGE, SILENT_S, WATCH_S, error_of
from matrixinfer.handlers.cluster.kubernetes.requests import collection_path

AGAIN_AFTER_S = 1.0
"""A server that ends every watch at once is not asked more often."""


async def followed(
    connection: Connection, kind: Kind, namespace: str, name: str
) -> AsyncGenerator[list[Sighting], None]:
    """First everything, by namespace and name (it may be nothing), then each change; `aclose` it. Raises Refused, and
    Unavailable when the server does not answer a list."""
    path = collection_path(kind, namespace or None)
    query = {"fieldSelector": f"metadata.name={name}"} if name else {}
    of_kind = {"apiVersion": kind.api_version, "kind": kind.name}  # the items of a list do not name it
    held: dict[str, Manifest] = {}
    is_first = True
    while True:
        listed, version = await _listed(connection, path, query)
        now = {one["metadata"]["uid"]: of_kind | one for one in listed}
        differences = _differences(held, now)
        held = now
        if is_first or differences:
            yield differences
        is_first = False
        try:
            async with contextlib.aclosing(_changes(connection, path, query, version)) as changes:
                async for sighting in changes:
                    held[sighting.manifest["metadata"]["uid"]] = sighting.manifest
                    if sighting.is_gone:
                        del held[sighting.manifest["metadata"]["uid"]]
                    yield [sighting]
        except TooOld:
            continue
        except (Unavailable, Refused) as error:
            if isinstance(error, Refused) and error.status < 500 and error.status != 429:
                raise
            await connection.clock.sleep(AGAIN_AFTER_S)


async def _changes(
    connection: Connection, path: str, query: dict[str, str], version: str
) -> AsyncGenerator[Sighting, None]:
    """For ever, however often the server ends a watch. Raises TooOld, Refused, Unavailable."""
    while True:
        async with contextlib.aclosing(_events(connection, path, query, version)) as events:
            async for what, body in events:
                version = body["metadata"]["resourceVersion"]
                if what != "BOOKMARK":
                    yield Sighting(body, what == "DELETED")
        await connection.clock.sleep(AGAIN_AFTER_S)


async def _listed(connection: Connection, path: str, query: dict[str, str]) -> tuple[list[Manifest], str]:
    found: list[Manifest] = []
    query = query | {"limit": str(PAGE)}
    while True:
        page = await connection.call("GET", path, query)
        found += page["items"]
        if not page["metadata"].get("continue"):
            return found, page["metadata"]["resourceVersion"]
        query["continue"] = page["metadata"]["continue"]


def _differences(before: dict[str, Manifest], now: dict[str, Manifest]) -> list[Sighting]:
    gone = [Sighting(one, True) for uid, one in before.items() if uid not in now]
    came = [Sighting(one) for uid, one in now.items() if _version(before.get(uid)) != _version(one)]
    return gone + sorted(came, key=lambda one: _place(one.manifest))


async def _events(
    connection: Connection, path: str, query: dict[str, str], version: str
) -> AsyncGenerator[tuple[str, Manifest], None]:
    """What and whom, until the server ends the watch. Raises TooOld, Refused, Unavailable."""
    for_s = WATCH_S * (1.0 + random.random())
    asked = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
    asked |= {"timeoutSeconds": str(int(for_s))}
    lines = connection.lines(path, query | asked, silent_s=for_s + SILENT_S)
    async with contextlib.aclosing(lines):
        async for line in lines:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == "ERROR":
                raise error_of(event["object"])
            yield event["type"], event["object"]


def _version(body: Manifest | None) -> str | None:
    return None if body is None else str(body["metadata"]["resourceVersion"])


def _place(body: Manifest) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]
