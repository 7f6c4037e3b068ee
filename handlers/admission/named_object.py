"""One object of the API server, followed by its name: read, written if it is still the same, waited for."""

from __future__ import annotations

import contextlib
import random
from typing import Any

from matrixinfer.handlers.cluster.kubernetes.connection import Connection

Body = dict[str, Any]
WATCH_S = 300.0
"""A watch is ended by the server after so long, or up to twice that; then the object is read again."""
SILENT_S = 30.0


class NamedObject:
    """Allowed by rules that name this one object and no other."""

    def __init__(self, connection: Connection, collection: str, name: str) -> None:
        self._connection = connection
        self._collection = collection
        self._query = {"fieldSelector": f"metadata.name={name}"}
        self.path = f"{collection}/{name}"

    async def read(self) -> tuple[Body | None, str]:
        """The object, or None, and the version from which `changes` goes on."""
        found = await self._connection.call("GET", self._collection, self._query)
        return next(iter(found["items"]), None), found["metadata"]["resourceVersion"]

    async def create(self, body: Body) -> None:
        """Raises Refused with 409 when it is there already."""
        await self._connection.call("POST", self._collection, body=body)

    async def replace(self, body: Body) -> None:
        """Raises Refused with 409 when it has changed since it was read."""
        await self._connection.call("PUT", self.path, body=body)

    async def changes(self, version: str) -> None:
        """Returns when it may have changed since that version: read again."""
        for_s = WATCH_S * (1.0 + random.random())
        query = {**self._query, "watch": "true", "resourceVersion": version, "timeoutSeconds": str(int(for_s))}
        lines = self._connection.lines(self._collection, query, silent_s=for_s + SILENT_S)
        async with contextlib.aclosing(lines):
            async for _ in lines:
                return
