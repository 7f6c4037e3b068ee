"""Halves whose engines meet by themselves: both begin at once, and the decode engine cannot compute the prompt."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec
import pytest

from matrixinfer.bus.contracts.disaggregation import Handed
from matrixinfer.bus.contracts.frames import Failure
from support.agent import ME, agent_house
from support.halves import (
    BODY,
    PREFILL_TIMEOUT_S,
    TRANSFER_TIMEOUT_S,
    counterpart,
    decode_key,
    ends,
    failures,
    hand,
    other_agent,
    place_decode,
    prefill_key,
    tell,
)


@pytest.fixture(autouse=True)
def _no_handler_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


async def test_engines_that_meet_begin_at_once() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await place_decode(house, connector="sglang")
        body = msgspec.json.decode(house.engine.jobs["a"].body)
        assert (body["bootstrap_host"], body["bootstrap_port"], body["bootstrap_room"]) == ("10.0.0.1", 8998, 42)
        house.engine.emit("a")
        house.engine.finish("a")
        await house.settle()
        assert (ends(house), other.words) == ([("completed", True, "taken")], [])


@pytest.mark.parametrize("early", [True, False])
async def test_where_engines_meet_a_lost_prefill_gives_the_work_back(early: bool) -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        if early:
            await hand(house, lost="gone")
            await place_decode(house, connector="sglang")
        else:
            await place_decode(house, connector="sglang")
            await hand(house, lost="gone")
            assert house.engine.aborted == ["a"]
        assert ends(house) == [("refused", False, "lost")]
        assert (gateway.chunks(), other.words, house.engine.active) == ([], [], set())
        assert (await house.backlog()).unacknowledged == 0
        house.stop.set()
        await house.settle()
        assert house.running.done(), "and nothing is in hand"


async def test_where_engines_meet_a_lost_prefill_does_not_wait_for_the_body() -> None:
    async with agent_house() as house:
        reference = house.others.subjects.body("ns", "ms", "a")
        await place_decode(house, connector="sglang", body=b"", body_ref=reference, body_bytes=len(BODY))
        await hand(house, lost="gone")
        assert ends(house) == [("refused", False, "lost")]
        await (await house.others.blobs.put(reference, BODY, ttl_s=60.0))
        await house.clock.advance(2.0)
        assert house.engine.jobs == {}


async def test_where_engines_meet_a_failed_one_gives_the_work_back_and_parts() -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place_decode(house, connector="sglang")
        house.engine.fail("a", Failure(500, "lost connection with prefill instance"))
        await house.settle()
        assert (ends(house), other.parted) == ([("refused", False, "lost")], [prefill_key()])
        assert (gateway.chunks(), house.engine.active) == ([], set())


async def test_where_engines_meet_the_first_token_has_the_time_of_both_phases() -> None:
    async with agent_house() as house:
        await house.gateway()
        other = await other_agent(house)
        await place_decode(house, connector="sglang")
        await house.clock.advance(PREFILL_TIMEOUT_S + TRANSFER_TIMEOUT_S - 1)
        assert house.engine.aborted == []
        await house.clock.advance(1.2)
        assert (house.engine.aborted, other.parted) == (["a"], [prefill_key()])
        assert ends(house) == [("refused", False, "lost")]


async def test_where_engines_meet_the_requests_own_mistake_at_the_prefill_engine_is_the_answer() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await place_decode(house, connector="sglang")
        await tell(house, Handed(decode_key(), ME.boot, lost="no", fault=Failure(422, "too long")))
        assert (failures(gateway), ends(house)) == ([422], [("failed", False, "lost")])


async def test_where_engines_meet_the_requests_own_mistake_here_is_told_and_parts() -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place_decode(house, connector="sglang")
        house.engine.fail("a", Failure(400, "no"))
        await house.settle()
        assert (failures(gateway), other.parted) == ([400], [prefill_key()])


async def test_both_halves_of_one_request_at_one_agent_do_not_meet_in_the_engine() -> None:
    async with agent_house() as house:
        await place_decode(house, connector="sglang")
        await house.place("a", phase="prefill", counterpart=counterpart("sglang"))
        assert len(house.engine.active) == 2
