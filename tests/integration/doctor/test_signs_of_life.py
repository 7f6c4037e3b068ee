"""`doctor` tells who is alive by the leases that are renewed on a real server, with the users' own rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from matrixinfer.agents.node.main import serve
from matrixinfer.agents.node.records import Records
from matrixinfer.agents.node.settings import NodeSettings
from matrixinfer.agents.node.tenancy import Tenancy
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.topology import Part
from matrixinfer.cli.checks import alive
from matrixinfer.cli.findings import Finding
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from matrixinfer.handlers.dispatch.tenure import Tenure
from support.eventually import eventually
from support.nats import RunningServer, connected, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as server, connected(server.url):
        yield server


async def findings(server: RunningServer, role: str) -> list[Finding]:
    async with connected(server.url) as bus:
        return [finding async for finding in alive(bus, role, "x.log")]


@asynccontextmanager
async def in_background(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def holds(bus: Bus, prefix: str) -> Callable[[], Awaitable[object]]:
    return lambda: bus.leases.holders(prefix)


async def test_a_node_that_works_is_alive_and_takes_over_from_a_killed_one(
    server: RunningServer, tmp_path: Path
) -> None:
    settings = NodeSettings(name="n.1", data_dir=tmp_path / "node")
    async with connected(server.url_of(Part.NODE)) as bus, connected(server.url) as operator:
        records = Records(settings.data_dir)
        await Tenancy(bus, "n.1", records, settings.lease_ttl_s).begin()
        records.close()
        before = await operator.leases.holders("node.")
        stop = asyncio.Event()
        running = asyncio.create_task(serve(settings, bus, stop))

        async def is_taken_over() -> bool:
            return await operator.leases.holders("node.") not in ({}, before)

        await eventually(is_taken_over, timeout_s=settings.lease_ttl_s / 2)
        (found,) = await findings(server, "node")
        assert (found.verdict, found.text) == ("fine", "n.1 is alive")
        stop.set()
        await running
        (found,) = await findings(server, "node")
        assert (found.verdict, found.text) == ("wrong", "no node is alive")


async def test_a_node_that_hangs_is_told_though_its_lease_still_holds(server: RunningServer, tmp_path: Path) -> None:
    records = Records(tmp_path / "node")
    async with connected(server.url_of(Part.NODE)) as bus:
        await Tenancy(bus, "local", records, 60.0).begin()
        (found,) = await findings(server, "node")
    records.close()
    assert found.verdict == "wrong"
    assert found.text.startswith("local does not renew its lease")


async def test_a_node_that_starts_again_and_again_is_told(server: RunningServer, tmp_path: Path) -> None:
    records = Records(tmp_path / "node")

    async with connected(server.url_of(Part.NODE)) as bus, connected(server.url) as operator:

        async def crash_loop() -> None:
            while True:
                await Tenancy(bus, "local", records, 4.0).begin()
                await bus.clock.sleep(0.2)

        async with in_background(crash_loop()):
            await eventually(holds(operator, "node."))
            found = (await findings(server, "node"))[0]
    records.close()
    assert found.verdict == "wrong"


async def test_a_dispatcher_is_alive_while_it_renews_and_missed_when_there_is_none(server: RunningServer) -> None:
    (found,) = await findings(server, "dispatcher")
    assert (found.verdict, found.text) == ("wrong", "no dispatcher is alive")
    async with (
        connected(server.url_of(Part.HANDLERS)) as bus,
        in_background(Tenure(bus, DispatchSettings(), "d1", lambda: None).run()),
    ):
        await eventually(holds(bus, "dispatcher."))
        (found,) = await findings(server, "dispatcher")
    assert (found.verdict, found.text) == ("fine", "d1 is alive")
