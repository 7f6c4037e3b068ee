"""Work whose body is on the bus: it is read before the engine hears of it, and its loss is told."""

from __future__ import annotations

from unittest import mock

import pytest

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.control import Abort
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import Denied, Unavailable
from support.agent import AgentHouse, FakeGateway, agent_house

BODY = b'{"messages": []}' + b" " * 50_000


async def put(house: AgentHouse, rid: str, body: bytes = BODY) -> str:
    reference = house.others.subjects.body("ns", "ms", rid)
    await (await house.others.blobs.put(reference, body, ttl_s=600.0))
    return reference


async def place(house: AgentHouse, rid: str, *, stored: bool = True, **fields: object) -> None:
    reference = await put(house, rid) if stored else house.others.subjects.body("ns", "ms", rid)
    await house.place(rid, body=b"", body_ref=reference, body_bytes=len(BODY), **fields)


def told(gateway: FakeGateway, rid: str) -> list[tuple[int, str]]:
    """Status and code of every failure that the gateway heard of."""
    failed = [decode(c.data, Failure) for c in gateway.chunks(rid) if c.kind is ChunkKind.FAILED]
    return [(failure.status, failure.code) for failure in failed]


async def test_the_engine_gets_the_body_that_was_stored_and_the_rest_as_in_the_envelope() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await place(house, "a", adapter="lora", model="name")
        job = house.engine.jobs["a"]
        assert (job.body, job.adapter, job.model) == (BODY, "lora", "name")
        house.engine.finish("a", b"end")
        await house.settle()
        assert [(c.kind, c.data) for c in gateway.chunks("a")] == [(ChunkKind.END, b"end")]
        assert await house.others.blobs.get(house.others.subjects.body("ns", "ms", "a")) == BODY, "others may need it"


async def test_every_attempt_and_hop_reads_it_anew() -> None:
    async with agent_house() as house:
        await place(house, "a")
        await place(house, "a", hop=2)
        await place(house, "a", attempt=2)
        assert [job.body for job in house.engine.jobs.values()] == [BODY] * 3


async def test_a_body_that_is_gone_is_told_within_a_second_and_frees_the_slot() -> None:
    async with agent_house(slots=1) as house:
        gateway = await house.gateway()
        await place(house, "a", stored=False)
        await house.place("next")
        assert (house.engine.jobs, gateway.chunks()) == ({}, [])
        await house.clock.advance(2.0)
        assert told(gateway, "a") == [(502, "body_lost")]
        assert [(f.key.rid, f.outcome, f.started) for f in house.finished] == [("a", "failed", False)]
        assert house.engine.active == {"next"}
        house.engine.finish("next")
        await house.settle()
        assert (await house.backlog()).unacknowledged == 0


async def test_a_body_of_another_size_is_no_body() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        reference = await put(house, "a", BODY[:-1])
        await house.place("a", body=b"", body_ref=reference, body_bytes=len(BODY))
        await house.clock.advance(2.0)
        assert told(gateway, "a") == [(502, "body_lost")]
        assert house.engine.jobs == {}


async def test_a_body_that_the_copy_asked_first_has_not_yet_is_found_a_moment_later() -> None:
    async with agent_house() as house:
        await place(house, "a", stored=False)
        await house.clock.advance(0.3)
        await put(house, "a")
        await house.clock.advance(0.7)
        assert house.engine.jobs["a"].body == BODY


async def test_while_the_server_is_away_the_work_waits_and_runs_when_it_is_back() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        with mock.patch.object(house.bus.blobs, "get", side_effect=Unavailable("away")):
            await place(house, "a")
            await house.clock.advance(10.0)
            assert (house.engine.jobs, told(gateway, "a"), house.finished) == ({}, [], [])
            assert (await house.backlog()).unacknowledged == 1, "and no copy of it was delivered"
        await house.clock.advance(1.0)
        assert house.engine.jobs["a"].body == BODY


async def test_a_body_that_stays_unreadable_is_told_before_a_long_deadline() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        with mock.patch.object(house.bus.blobs, "get", side_effect=Unavailable("away")):
            await place(house, "a", remaining_s=600.0)
            await house.clock.advance(35.0)
        assert told(gateway, "a") == [(503, "body_unreadable")]


async def test_missing_rights_are_told_at_once() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        with mock.patch.object(house.bus.blobs, "get", side_effect=Denied("no")):
            await place(house, "a")
        assert [status for status, _ in told(gateway, "a")] == [500]


async def test_the_deadline_counts_while_a_body_is_read_and_the_slot_is_free_at_once() -> None:
    async with agent_house(slots=1) as house:
        gateway = await house.gateway()
        with mock.patch.object(house.bus.blobs, "get", side_effect=Unavailable("away")):
            await place(house, "a", remaining_s=5.0)
            await house.clock.advance(5.2)
            assert told(gateway, "a") == [(504, "deadline_exceeded")]
            assert [(f.outcome, f.started) for f in house.finished] == [("expired", False)]
            await house.place("next")
            assert house.engine.active == {"next"}
        await house.clock.advance(5.0)
        assert set(house.engine.jobs) == {"next"}, "the engine never hears of what has ended"


async def test_an_abort_while_a_body_is_read_ends_the_work_without_a_word() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await place(house, "a", stored=False)
        await house.ask(Abort([WorkKey("a", 1, 1)]))
        await put(house, "a")
        await house.clock.advance(3.0)
        assert (house.engine.jobs, house.engine.aborted, gateway.chunks()) == ({}, [], [])
        assert [(f.outcome, f.started) for f in house.finished] == [("cancelled", False)]


async def test_an_agent_that_leaves_while_a_body_is_read_gives_the_work_back() -> None:
    async with agent_house(drain_s=1.0) as house:
        await place(house, "a", stored=False)
        with mock.patch.object(house.bus.blobs, "get", side_effect=Unavailable("away")):
            house.stop.set()
            await house.clock.advance(2.0)
        assert [(f.outcome, f.started) for f in house.finished] == [("refused", False)]
        assert house.running is not None
        assert house.running.done()


@pytest.mark.parametrize("slots", [1, 4])
async def test_a_body_that_is_being_read_holds_its_slot(slots: int) -> None:
    async with agent_house(slots=slots) as house:
        with mock.patch.object(house.bus.blobs, "get", side_effect=Unavailable("away")):
            for n in range(slots + 2):
                await place(house, f"r{n}")
            assert (await house.backlog()).waiting == 2
            await house.clock.advance(0.5)
            snapshot = [event.snapshot for event in house.events if event.snapshot is not None][-1]
            assert len(snapshot.waiting) == slots
        await house.clock.advance(1.0)
        assert len(house.engine.active) == slots
