"""A node of the local cluster that only pretends: its Pods are ready at once, and gone as soon as they shall be."""

from __future__ import annotations

import asyncio
import json

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import Conflict, Unavailable
from matrixinfer.bus.ports import Entry


class PretendNode:
    """Claims every Pod, says that it is ready, and removes it as soon as it is to be deleted."""

    def __init__(self, bus: Bus) -> None:
        self._objects = bus.store("OBJECTS")

    async def run(self) -> None:
        while True:
            watch = await self._objects.watch("Pod")
            for entry in watch.snapshot.values():
                await self._handle(entry)
            async for change in watch:
                if change.entry is not None:
                    await self._handle(change.entry)

    async def _handle(self, entry: Entry) -> None:
        while True:
            try:
                await self._try(entry)
                return
            except Conflict:
                return  # the newer state comes as a change of its own
            except Unavailable:
                await asyncio.sleep(0.05)

    async def _try(self, entry: Entry) -> None:
        body = json.loads(entry.value)
        if "deletionTimestamp" in body["metadata"]:
            await self._objects.delete(entry.key, revision=entry.revision)
        elif "status" not in body:
            body["spec"]["nodeName"] = "local"
            body["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            await self._objects.put(entry.key, json.dumps(body).encode(), revision=entry.revision)
