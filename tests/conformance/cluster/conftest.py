"""The clusters that the suite runs on. Another adapter joins by another Playground."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from matrixinfer.bus.background import end
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.cluster.events import SOURCE
from matrixinfer.handlers.cluster.kubernetes.adapter import KubernetesCluster
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.cluster.local.garbage import GarbageCollector
from matrixinfer.handlers.cluster.port import Cluster
from support.kube import ControlPlane
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


class KubernetesPlayground:
    def __init__(self, here: KubernetesCluster, there: KubernetesCluster, plane: ControlPlane) -> None:
        self.here = here
        self.there = there
        self._plane = plane

    async def claim(self, namespace: str, pod: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": "local"}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        await asyncio.to_thread(self._plane.ask, "POST", f"{path}/binding", body)
        version = (await asyncio.to_thread(self._plane.ask, "GET", path))["metadata"]["resourceVersion"]
        assert await self.here.reaches(Pod, version, 5.0)

    async def ended(self, namespace: str, pod: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}?gracePeriodSeconds=0"
        await asyncio.to_thread(self._plane.ask, "DELETE", path)

    async def events(self, namespace: str) -> list[Event]:
        found = await asyncio.to_thread(self._plane.ask, "GET", f"/api/v1/namespaces/{namespace}/events")
        events = [Event.read(body) for body in found["items"]]
        return [event for event in events if event.source.component == SOURCE]


@contextlib.asynccontextmanager
async def kubernetes(plane: ControlPlane) -> AsyncIterator[KubernetesPlayground]:
    await asyncio.to_thread(plane.empty)
    config = str(plane.kubeconfig)
    clusters = [await KubernetesCluster.open(SystemClock(), kubeconfig=config) for _ in range(2)]
    tasks = [asyncio.create_task(cluster.run()) for cluster in clusters]
    try:
        yield KubernetesPlayground(clusters[0], clusters[1], plane)
    finally:
        await end(tasks)
        for cluster in clusters:
            await cluster.close()


@pytest.fixture(
    params=["local, memory bus", "local, nats-server", pytest.param("kubernetes", marks=pytest.mark.timeout(240))]
)
async def playground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Playground]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "kubernetes":
            yield await stack.enter_async_context(kubernetes(request.getfixturevalue("control_plane")))
            return
        if request.param == "local, memory bus":
            broker = MemoryBroker(SystemClock())
            buses = [broker.connect(), broker.connect()]
        else:
            server = await stack.enter_async_context(running_server(tmp_path))
            buses = [await stack.enter_async_context(connected(server.url)) for _ in range(2)]
        yield await stack.enter_async_context(local(*buses))
