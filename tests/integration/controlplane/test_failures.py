"""The control plane when the bus breaks, and when something in it ends that should not."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.cluster_client import ClusterClient
from matrixinfer.bus.contracts.serving import route_key
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.settings import BusSettings
from matrixinfer.handlers.main import serve
from matrixinfer.handlers.settings import HandlersSettings
from support.bus_contents import everything
from support.eventually import eventually
from support.nats import connected, running_server

SETTINGS = HandlersSettings(roles=frozenset({"cluster", "reconcile"}))
MODEL = (Path(__file__).parents[3] / "examples" / "simulated.yaml").read_text()
ROUTE = route_key("default", "simulated")


async def test_a_connection_that_breaks_and_comes_back_loses_no_change():
    broker = MemoryBroker(SystemClock())
    bus, theirs = broker.connect(), broker.connect()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(SETTINGS, theirs, BusSettings(), stop))
        client = ClusterClient(bus)
        await eventually(lambda: applied(client))
        await eventually(lambda: bus.store("SERVING").get(ROUTE))
        broker.drop_connection(theirs)
        await bus.store("OBJECTS").delete("Model.default.simulated")
        broker.restore_connection(theirs)
        await eventually(lambda: is_empty(bus))
        stop.set()


async def test_a_server_that_is_killed_and_restarted_loses_no_change(tmp_path):
    async with running_server(tmp_path) as server, connected(server.url) as bus, connected(server.url) as theirs:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(SETTINGS, theirs, BusSettings(url=server.url), stop))
            client = ClusterClient(bus)
            await eventually(lambda: applied(client))
            await eventually(lambda: bus.store("SERVING").get(ROUTE), timeout_s=10)
            await server.restart()
            await eventually(lambda: deleted(client), timeout_s=20)
            await eventually(lambda: is_empty(bus), timeout_s=20)
            await eventually(lambda: applied(client), timeout_s=20)
            await eventually(lambda: bus.store("SERVING").get(ROUTE), timeout_s=20)
            stop.set()


async def test_a_connection_closed_for_good_ends_the_process_with_an_error():
    bus = MemoryBroker(SystemClock()).connect()
    task = asyncio.create_task(serve(SETTINGS, bus, BusSettings(), asyncio.Event()))
    probe = bus.store("SERVING")
    await probe.put(ROUTE, b"")
    await eventually(lambda: is_gone(probe, ROUTE))
    await bus.link.close()
    await asyncio.wait([task], timeout=5)
    assert isinstance(task.exception(), ExceptionGroup)
    assert "the watch of OBJECTS ended" in str(task.exception().exceptions)


async def applied(client: ClusterClient) -> bool:
    with contextlib.suppress(BusError):
        return bool(await client.apply(MODEL))
    return False


async def deleted(client: ClusterClient) -> bool:
    with contextlib.suppress(BusError):
        await client.delete("model", "default", "simulated")
        return await client.get("model", "default", "simulated") is None
    return False


async def is_empty(bus) -> bool:
    with contextlib.suppress(BusError):
        return not await everything(bus)
    return False


async def is_gone(store, key: str) -> bool:
    return await store.get(key) is None
