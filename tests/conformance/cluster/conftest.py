"""The clusters that the suite runs on. Another adapter joins by another Playground."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.cluster.local.garbage import GarbageCollector
from matrixinfer.handlers.cluster.port import Cluster
from support.nats import connected, running_server


class Playground(Protocol):
    """A cluster seen by two processes, and what a node does in it."""

    @property
    def here(self) -> Cluster: ...

    @property
    def there(self) -> Cluster: ...

    async def claim(self, namespace: str, pod: str) -> None:
        """A node takes the Pod."""
        ...

    async def ended(self, namespace: str, pod: str) -> None:
        """The Pod's processes ended: its object goes."""
        ...

    async def events(self, namespace: str) -> list[Event]:
        """As a person would list them."""
        ...


class LocalPlayground:
    def __init__(self, here: LocalCluster, there: LocalCluster, bus: Bus) -> None:
        self.here = here
        self.there = there
        self._objects = bus.store("OBJECTS")

    async def claim(self, namespace: str, pod: str) -> None:
        entry = await self._objects.get(object_key("Pod", namespace, pod))
        assert entry is not None
        body = json.loads(entry.value)
        body["spec"]["nodeName"] = "local"
        await self._objects.put(entry.key, json.dumps(body).encode(), revision=entry.revision)

    async def ended(self, namespace: str, pod: str) -> None:
        await self._objects.delete(object_key("Pod", namespace, pod))

    async def events(self, namespace: str) -> list[Event]:
        return self.here.list(Event, namespace)


@contextlib.asynccontextmanager
async def local(here: Bus, there: Bus) -> AsyncIterator[LocalPlayground]:
    clusters = [await LocalCluster.open(bus) for bus in (here, there)]
    jobs = [cluster.run() for cluster in clusters] + [GarbageCollector(here, clusters[0]).run()]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        yield LocalPlayground(clusters[0], clusters[1], here)
        for task in tasks:
            task.cancel()


@pytest.fixture(params=["local, memory bus", "local, nats-server"])
async def playground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Playground]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "local, memory bus":
            broker = MemoryBroker(SystemClock())
            buses = [broker.connect(), broker.connect()]
        else:
            server = await stack.enter_async_context(running_server(tmp_path))
            buses = [await stack.enter_async_context(connected(server.url)) for _ in range(2)]
        yield await stack.enter_async_context(local(*buses))
