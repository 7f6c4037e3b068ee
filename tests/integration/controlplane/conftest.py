"""Whole handlers processes (roles cluster and reconcile) as tasks, with a node that only pretends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.cluster_client import ClusterClient
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import PoolPod, Route, route_key
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.settings import BusSettings
from matrixinfer.handlers.main import serve
from matrixinfer.handlers.settings import HandlersSettings
from support.bus_contents import everything
from support.eventually import eventually
from support.idle_agents import speak_for_idle_agents
from support.nats import connected, running_server
from support.pretend_node import PretendNode

SETTINGS = HandlersSettings(roles=frozenset({"cluster", "reconcile"}))


class Handlers:
    """One handlers process."""

    def __init__(self, settings: BusSettings, bus: Bus, group: asyncio.TaskGroup) -> None:
        self._stop = asyncio.Event()
        self._task = group.create_task(serve(SETTINGS, bus, settings, self._stop))

    def tell_to_stop(self) -> None:
        self._stop.set()

    async def end(self) -> None:
        self._stop.set()
        await self._task


class ControlPlane:
    """Connections, processes that can be started and killed, and what they have made."""

    def __init__(
        self, connect: Callable[[], Awaitable[Bus]], settings: BusSettings, bus: Bus, group: asyncio.TaskGroup
    ) -> None:
        self.connect = connect
        self._settings = settings
        self._group = group
        self.bus = bus
        self.client = ClusterClient(bus, timeout_s=20)
        self._handlers: list[Handlers] = []
        self._node: list[asyncio.Task[None]] = []

    async def start_handlers(self) -> Handlers:
        """Returns when it works: it has found and removed a route that nobody made."""
        serving, probe = self.bus.store("SERVING"), route_key("default", f"probe-{len(self._handlers)}")
        await serving.put(probe, b"")
        self._handlers.append(Handlers(self._settings, await self.connect(), self._group))

        async def is_removed() -> bool:
            return await serving.get(probe) is None

        await eventually(is_removed, timeout_s=10)
        return self._handlers[-1]

    def start_node(self, *, agents: bool = True) -> None:
        """Without `agents` nobody speaks for the Pods."""
        self._node = [self._group.create_task(PretendNode(self.bus).run())]
        if agents:
            self._node.append(self._group.create_task(speak_for_idle_agents(self.bus)))

    def stop(self) -> None:
        for handlers in self._handlers:
            handlers.tell_to_stop()
        for task in self._node:
            task.cancel()

    async def names(self, kind: str) -> list[str]:
        entries = await self.bus.store("OBJECTS").entries(kind)
        return sorted(json.loads(entry.value)["metadata"]["name"] for entry in entries.values())

    async def routes(self) -> dict[str, Route]:
        entries = await self.bus.store("SERVING").entries("route")
        found = [decode(entry.value, Route) for entry in entries.values()]
        return {route.model: route for route in found}

    async def pool_pods(self) -> dict[str, PoolPod]:
        entries = await self.bus.store("SERVING").entries("pod")
        found = [decode(entry.value, PoolPod) for entry in entries.values()]
        return {member.pod: member for member in found}

    async def everything(self) -> list[str]:
        """All that exists, in both buckets, but Events: these tell of what was."""
        return await everything(self.bus)


@contextlib.asynccontextmanager
async def control_plane(connect: Callable[[], Awaitable[Bus]], settings: BusSettings) -> AsyncIterator[ControlPlane]:
    """Every task ends before the first connection is closed."""
    async with asyncio.TaskGroup() as group:
        plane = ControlPlane(connect, settings, await connect(), group)
        try:
            yield plane
        finally:
            plane.stop()


@pytest.fixture(params=["memory bus", "nats-server"])
async def plane(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "memory bus":
            broker = MemoryBroker(SystemClock())
            settings = BusSettings()

            async def connect() -> Bus:
                return broker.connect()
        else:
            server = await stack.enter_async_context(running_server(tmp_path))
            settings = BusSettings(url=server.url)
            connections = await stack.enter_async_context(contextlib.AsyncExitStack())

            async def connect() -> Bus:
                return await connections.enter_async_context(connected(server.url))

        async with control_plane(connect, settings) as plane:
            yield plane
