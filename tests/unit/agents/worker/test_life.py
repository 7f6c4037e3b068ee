"""Leaving, broken connections, and gateways that are gone."""

from __future__ import annotations

import pytest

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.control import Ping
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import NobodyThere
from support.agent import agent_house


async def test_a_stopped_agent_says_so_finishes_what_it_has_and_leaves() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        assert house.running is not None
        await house.place("a")
        await house.place("b")
        house.engine.emit("a")
        house.stop.set()
        await house.settle()
        assert house.events[-1].draining
        await house.clock.advance(20.0)
        assert not house.running.done()
        house.engine.finish("a")
        house.engine.finish("b")
        await house.settle()
        await house.running
        assert [c.kind for c in gateway.chunks()] == [ChunkKind.DATA, ChunkKind.END, ChunkKind.END]
        assert [f.outcome for f in house.finished] == ["completed", "completed"]
        assert house.engine.is_closed
        with pytest.raises(NobodyThere):
            await house.ask(Ping())


async def test_a_stopped_agent_that_is_idle_leaves_at_once() -> None:
    async with agent_house() as house:
        house.stop.set()
        await house.settle()
        assert house.running is not None
        assert house.running.done()
        last = house.events[-1]
        assert last.draining
        assert last.snapshot is not None


@pytest.mark.parametrize("stubborn", [False, True])
async def test_at_the_end_of_the_drain_what_runs_ends_with_an_error_and_what_waits_goes_elsewhere(
    stubborn: bool,
) -> None:
    async with agent_house(drain_s=10.0) as house:
        house.engine.stubborn = stubborn
        gateway = await house.gateway()
        await house.place("a")
        await house.place("b")
        house.engine.emit("a")
        house.stop.set()
        await house.clock.advance(9.9)
        assert house.running is not None
        assert not house.running.done()
        await house.clock.advance(0.2)
        await house.running
        last = gateway.chunks("a")[-1]
        assert (last.kind, decode(last.data, Failure).status) == (ChunkKind.FAILED, 503)
        assert gateway.chunks("b") == []
        ends = sorted((f.key.rid, f.outcome, f.started) for f in house.finished)
        assert ends == [("a", "failed", True), ("b", "refused", False)]
        assert [event.sequence for event in house.events] == list(range(1, len(house.events) + 1))


async def test_the_work_of_a_gateway_that_is_gone_is_aborted_and_no_other() -> None:
    async with agent_house() as house:
        gone, stays = await house.gateway("g1"), await house.gateway("g2")
        await house.place("a", gateway="g1")
        await house.place("b", gateway="g2")
        house.engine.emit("a")
        await house.clock.advance(4.0)
        await gone.leave()
        await house.clock.advance(5.9)
        assert house.engine.active == {"a", "b"}
        await house.clock.advance(2.2)
        assert house.engine.active == {"b"}
        assert [(f.key.rid, f.outcome) for f in house.finished] == [("a", "cancelled")]
        assert stays.chunks() == []


async def test_a_gateway_that_comes_back_in_time_keeps_its_work() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        for _ in range(3):
            await gateway.leave()
            await house.clock.advance(5.0)
            await gateway.open()
            await house.clock.advance(2.1)
        assert house.engine.active == {"a"}


async def test_a_broken_connection_tells_nothing_about_gateways() -> None:
    async with agent_house() as house:
        await house.gateway()
        await house.place("a")
        house.broker.drop_connection(house.bus)
        await house.clock.advance(30.0)
        house.broker.restore_connection(house.bus)
        await house.clock.advance(5.0)
        assert house.engine.active == {"a"}


async def test_after_a_restart_of_the_bus_work_goes_on_and_the_state_is_told_at_once() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        house.engine.emit("a")
        await house.settle()
        count = len(house.events)
        house.broker.restart()
        await house.settle()
        assert house.events[count].snapshot is not None
        house.engine.finish("a")
        await house.place("b")
        assert house.engine.active == {"b"}
        assert [c.number for c in gateway.chunks("a")] == [0, 1]


async def test_load_events_that_could_not_be_sent_are_said_later_without_a_hole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with agent_house() as house:
        await house.place("a")
        with monkeypatch.context() as patch:
            patch.setattr(house.bus.signals, "publish", house.refuse_to_publish)
            house.engine.emit("a")
            await house.clock.advance(1.0)
            assert house.started == []
        await house.clock.advance(1.0)
        assert house.started == [WorkKey("a", 1, 1)]
        assert [event.sequence for event in house.events] == list(range(1, len(house.events) + 1))


async def test_a_chore_that_dies_ends_the_agent_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent_house() as house:
        monkeypatch.setattr(house.engine, "load", lambda: 1 / 0)
        await house.clock.advance(1.0)
        assert house.running is not None
        with pytest.raises(ExceptionGroup) as raised:
            await house.running
        assert raised.group_contains(ZeroDivisionError)
        house.running = None
