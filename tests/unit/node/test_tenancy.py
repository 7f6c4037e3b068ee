"""One node of a name at a time, and a killed one locks nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from matrixinfer.agents.node.errors import NodeTaken
from matrixinfer.agents.node.main import serve
from matrixinfer.agents.node.records import Records
from matrixinfer.agents.node.settings import NodeSettings
from matrixinfer.agents.node.tenancy import Tenancy
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.memory import MemoryBroker
from support.eventually import eventually

TTL_S = 1.0
Maker = Callable[..., Tenancy]


@pytest.fixture
def bus() -> Bus:
    return MemoryBroker(SystemClock()).connect()


@pytest.fixture
def tenancy(bus: Bus, tmp_path: Path) -> Iterator[Maker]:
    """`tenancy("folder")`: of one folder each time the same records, as if each node but the last were killed."""
    opened: dict[str, Records] = {}

    def make(folder: str, name: str = "local") -> Tenancy:
        records = opened.get(folder) or opened.setdefault(folder, Records(tmp_path / folder))
        return Tenancy(bus, name, records, TTL_S)

    yield make
    for records in opened.values():
        records.close()


async def kill(keeping: asyncio.Task[None]) -> None:
    keeping.cancel()
    await asyncio.wait([keeping])


async def owner_of(bus: Bus, name: str = "node.local") -> str | None:
    return (await bus.leases.holders("node.")).get(name)


async def test_a_second_node_of_the_same_name_is_refused_with_advice(bus: Bus, tenancy: Maker) -> None:
    first = tenancy("first")
    await first.begin()
    keeping = asyncio.create_task(first.keep())
    await tenancy("third", "elsewhere").begin()
    with pytest.raises(NodeTaken, match=r"'local' is alive .* MATRIXINFER_NODE_NAME, .* MATRIXINFER_BUS_PREFIX"):
        await tenancy("second").begin()
    assert not keeping.done()
    await kill(keeping)


async def test_the_successor_of_a_killed_node_takes_its_lease_over_at_once(bus: Bus, tenancy: Maker) -> None:
    await tenancy("same").begin()
    before = await owner_of(bus)
    async with asyncio.timeout(TTL_S / 2):
        await tenancy("same").begin()
    assert await owner_of(bus) not in (None, before)


async def test_a_node_on_another_folder_waits_until_a_killed_one_is_surely_gone(bus: Bus, tenancy: Maker) -> None:
    await tenancy("killed").begin()
    before = await owner_of(bus)
    await tenancy("another").begin()
    assert await owner_of(bus) not in (None, before)


async def test_a_node_that_was_frozen_while_another_took_its_name_ends(tenancy: Maker) -> None:
    frozen, other = tenancy("frozen"), tenancy("other")
    await frozen.begin()
    await other.begin()
    keeping = asyncio.create_task(other.keep())
    with pytest.raises(NodeTaken):
        async with asyncio.timeout(10 * TTL_S):
            await frozen.keep()
    assert not keeping.done()
    await kill(keeping)


async def test_a_lease_that_was_lost_is_acquired_again(bus: Bus, tenancy: Maker) -> None:
    node = tenancy("a")
    await node.begin()
    keeping = asyncio.create_task(node.keep())
    await bus.store("LEASES").delete("node.local")
    await eventually(lambda: owner_of(bus), timeout_s=5 * TTL_S)
    assert not keeping.done()
    await kill(keeping)


async def test_a_node_is_known_while_it_runs_and_gives_its_name_back(bus: Bus, tmp_path: Path) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(serve(NodeSettings(name="n.1", data_dir=tmp_path), bus, stop))
    await eventually(lambda: owner_of(bus, "node.n=2E1"))
    stop.set()
    await running
    assert await bus.leases.holders("node.") == {}


async def test_a_note_of_a_lease_that_cannot_be_read_locks_nobody_out(bus: Bus, tenancy: Maker, tmp_path: Path) -> None:
    await tenancy("a").begin()
    (tmp_path / "a" / "pods" / ".lease").write_text("{")
    await tenancy("a").begin()
    assert await owner_of(bus) is not None
