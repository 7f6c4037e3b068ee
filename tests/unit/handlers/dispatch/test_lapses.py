"""A lease that lapsed for a moment, and what the bus refused for a moment: nothing is lost, nobody waits for ever."""

import asyncio

import pytest

from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.ports import Lease
from support.dispatch import DispatchHouse, RunningDispatcher, dispatch_house

NO_TICK_S = 600.0
"""No tick falls into the lapse: only what comes in can notice it."""


async def lapse(house: DispatchHouse, dispatcher: RunningDispatcher, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Renewals fail until one is asked for just in time, and its answer comes too late: when the event is set. To the
    server the lease never ended."""
    renew, answered = dispatcher.bus.leases.renew, asyncio.Event()
    asked = 0

    async def renew_late(lease: Lease) -> Lease:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise Unavailable("the server is slow")
        renewed = await renew(lease)
        await answered.wait()
        return renewed

    monkeypatch.setattr(dispatcher.bus.leases, "renew", renew_late)
    while asked < 3:
        await house.pass_time(0.25)
    await house.pass_time(0.5)
    return answered


async def test_requests_that_come_while_the_lease_had_lapsed_are_served_when_it_holds_again(monkeypatch):
    async with dispatch_house(tick_s=NO_TICK_S) as house:
        dispatcher = await house.dispatcher()
        agent = await house.agent("p1", slots=8)
        await house.post("before")
        answered = await lapse(house, dispatcher, monkeypatch)
        await house.post("a", "b")
        assert agent.waiting_rids == ["before"], "without the lease nothing is placed"
        answered.set()
        await house.pass_time(3)
        assert agent.waiting_rids == ["before", "a", "b"]
        assert (await house.gateway.where("a")).state == "placed"
        for rid in ("before", "a", "b"):
            await agent.start(rid)
        await house.settle()
        assert await house.is_all_acknowledged()
        assert len(agent.pulled) == 3


async def test_a_takeover_that_met_a_lapsed_lease_is_tried_again(monkeypatch):
    async with dispatch_house(tick_s=NO_TICK_S) as house:
        dispatcher = await house.dispatcher()
        agent = await house.agent("p1", slots=8)
        answered = await lapse(house, dispatcher, monkeypatch)
        house.broker.drop_connection(dispatcher.bus)
        house.broker.restore_connection(dispatcher.bus)
        await house.settle()
        answered.set()
        await house.post("a")
        await house.pass_time(3)
        assert agent.waiting_rids == ["a"]
        assert (await house.gateway.where("a")).state == "placed"


async def test_listening_to_questions_that_failed_is_tried_again(monkeypatch):
    async with dispatch_house() as house:
        dispatcher = RunningDispatcher(house.broker.connect(), house.settings)
        house.dispatchers.append(dispatcher)
        subscribe = dispatcher.bus.signals.subscribe
        refused: list[str] = []

        async def subscribe_late(subject, handler, *, group=""):
            if ".where." in subject and not refused:
                refused.append(subject)
                raise Unavailable("the server is slow")
            return await subscribe(subject, handler, group=group)

        monkeypatch.setattr(dispatcher.bus.signals, "subscribe", subscribe_late)
        await house.pass_time(3)
        assert len(refused) == 1
        await house.post("a")
        assert (await house.gateway.where("a")).state == "queued"
