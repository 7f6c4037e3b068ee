"""A node on the memory bus, with real small processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from matrixinfer.agents.node.main import serve
from matrixinfer.agents.node.settings import NodeSettings
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.memory import MemoryBroker


class World:
    """A broker with a node on it."""

    def __init__(self, folder: Path) -> None:
        self.bus: Bus = MemoryBroker(SystemClock()).connect()
        self.store = self.bus.store("OBJECTS")
        self.settings = NodeSettings(
            data_dir=folder, poll_s=0.01, backoff_first_s=0.02, ready_silence_s=0.2, exit_grace_s=5.0
        )

    @asynccontextmanager
    async def node(self, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
        stop = asyncio.Event()
        running = asyncio.create_task(serve(self.settings.model_copy(update=changes), self.bus, stop))
        try:
            yield running
        finally:
            stop.set()
            await running

    async def put(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        key = object_key("Pod", metadata["namespace"], metadata["name"])
        await self.store.put(key, json.dumps(document).encode())

    async def pod(self, name: str = "p", namespace: str = "default") -> dict[str, Any] | None:
        entry = await self.store.get(object_key("Pod", namespace, name))
        return json.loads(entry.value) if entry else None

    async def ready(self, name: str = "p", namespace: str = "default") -> bool:
        pod = await self.pod(name, namespace)
        status = (pod or {}).get("status", {})
        conditions = status.get("conditions") if isinstance(status, dict) else None
        return isinstance(conditions, list) and any(
            isinstance(one, dict) and one.get("type") == "Ready" and one.get("status") == "True" for one in conditions
        )

    async def told(self, name: str) -> dict[str, Any]:
        """The status of a Pod that was refused; empty until then."""
        status = ((await self.pod(name)) or {}).get("status", {})
        return status if isinstance(status, dict) and status.get("reason") == "BadPod" else {}

    async def mark_deleted(self, name: str = "p") -> None:
        pod = await self.pod(name)
        assert pod is not None
        pod["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        await self.put(pod)


def pids_in(folder: Path) -> list[int]:
    """Processes that this node started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MATRIXINFER_NODE_CONTAINER", "").startswith(f"{folder}#"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
