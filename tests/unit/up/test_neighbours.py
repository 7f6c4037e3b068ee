"""A platform on a shared server looks for another one first, and is not afraid of its own former life."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from matrixinfer.agents.node.records import Records
from matrixinfer.agents.node.tenancy import Tenancy
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.up.errors import ServerTaken
from matrixinfer.up.neighbours import make_sure_of_none

TTL_S = 4.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bus(clock: ManualClock) -> Bus:
    return MemoryBroker(clock).connect()


async def node(bus: Bus, folder: Path, name: str = "local") -> Tenancy:
    """A node that has worked on `folder`; it lives as long as its `keep` goes on."""
    records = Records(folder)
    tenancy = Tenancy(bus, name, records, TTL_S)
    await tenancy.begin()
    records.close()
    return tenancy


def look(bus: Bus, folder: Path, said: list[str] | None = None) -> asyncio.Task[None]:
    heard = [] if said is None else said
    return asyncio.create_task(make_sure_of_none(bus, "local", TTL_S, folder, heard.append))


async def test_a_living_neighbour_is_found_and_left_alone(bus: Bus, clock: ManualClock, tmp_path: Path) -> None:
    keeping = asyncio.create_task((await node(bus, tmp_path / "other")).keep())
    before = await bus.leases.holders("node.")
    said: list[str] = []
    looking = look(bus, tmp_path / "ours", said)
    await clock.advance(TTL_S + 2)
    with pytest.raises(ServerTaken, match=r"another node named 'local' is alive .*stop it, .*MATRIXINFER_BUS_PREFIX"):
        await looking
    assert "waiting" in said[0]
    assert await bus.leases.holders("node.") == before
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_what_our_own_killed_node_left_stops_nothing(bus: Bus, tmp_path: Path) -> None:
    await node(bus, tmp_path / "ours")
    await look(bus, tmp_path / "ours")


async def test_a_killed_neighbour_is_waited_for(bus: Bus, clock: ManualClock, tmp_path: Path) -> None:
    await node(bus, tmp_path / "other")
    looking = look(bus, tmp_path / "ours")
    await clock.advance(TTL_S - 1)
    assert not looking.done()
    await clock.advance(2)
    await looking


async def test_nodes_of_other_names_are_no_neighbours(bus: Bus, tmp_path: Path) -> None:
    await node(bus, tmp_path / "other", "local2")
    await look(bus, tmp_path / "ours")
