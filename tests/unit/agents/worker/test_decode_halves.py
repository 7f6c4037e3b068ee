"""The decode half of a request: it waits for its prefill, or does without, and its frames are the answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec
import pytest

from matrixinfer.bus.contracts.control import Abort, Drain
from matrixinfer.bus.contracts.disaggregation import Connector, Handed
from matrixinfer.bus.contracts.frames import ChunkKind, Failure, Usage
from support.agent import ME, agent_house
from support.halves import (
    BODY,
    PARAMS,
    PREFILL_TIMEOUT_S,
    TRANSFER_TIMEOUT_S,
    decode_key,
    ends,
    failures,
    hand,
    other_agent,
    place_decode,
    prefill_key,
    tell,
)

WAITING: list[Connector] = ["nixl", "mooncake", "lmcache", "http"]


@pytest.fixture(autouse=True)
def _no_handler_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("connector", WAITING)
async def test_it_waits_in_its_slot_and_begins_when_its_prefill_is_handed_over(connector: Connector) -> None:
    async with agent_house(slots=1) as house:
        gateway = await house.gateway()
        await place_decode(house, connector=connector)
        await house.place("next")
        await house.clock.advance(8.0)
        assert house.engine.jobs == {}, "and the slot is taken"
        assert house.events[-1].snapshot.waiting == [decode_key()]
        assert (await house.backlog()).unacknowledged == 1
        await hand(house, params=PARAMS)
        job = house.engine.jobs["a"]
        assert job.stream
        if connector in ("nixl", "mooncake"):
            assert bytes(msgspec.json.decode(job.body, type=dict[str, msgspec.Raw])["kv_transfer_params"]) == PARAMS
        else:
            assert job.body == BODY
        house.engine.emit("a")
        house.engine.finish("a")
        await house.settle()
        assert [(c.phase, c.kind, c.number) for c in gateway.chunks("a")] == [
            ("decode", ChunkKind.DATA, 0),
            ("decode", ChunkKind.END, 1),
        ]
        assert (ends(house), house.finished[0].usage) == ([("completed", True, "taken")], Usage(10, 2, 5))
        assert house.started == [decode_key()]


@pytest.mark.parametrize("connector", WAITING)
async def test_a_word_that_comes_before_the_work_is_kept_for_it(connector: Connector) -> None:
    async with agent_house() as house:
        await hand(house, params=PARAMS)
        await place_decode(house, connector=connector)
        assert house.engine.active == {"a"}
        house.engine.finish("a")
        await house.settle()
        assert ends(house) == [("completed", True, "taken")]


async def test_a_word_that_comes_while_the_body_is_read_is_kept_too() -> None:
    async with agent_house() as house:
        reference = house.others.subjects.body("ns", "ms", "a")
        await place_decode(house, body=b"", body_ref=reference, body_bytes=len(BODY))
        await hand(house, params=PARAMS)
        assert house.engine.jobs == {}
        await (await house.others.blobs.put(reference, BODY, ttl_s=60.0))
        await house.clock.advance(0.9)
        assert b"kv_transfer_params" in house.engine.jobs["a"].body


async def test_a_word_for_an_earlier_life_does_not_count() -> None:
    async with agent_house() as house:
        await place_decode(house)
        answer = await tell(house, Handed(decode_key(), "boot-0", PARAMS))
        assert (answer.boot, house.engine.jobs) == (ME.boot, {})


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("connector", WAITING)
async def test_without_its_prefill_it_runs_the_clients_body_alone(connector: Connector, early: bool) -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        if early:
            await hand(house, lost="gone")
            await place_decode(house, connector=connector)
        else:
            await place_decode(house, connector=connector)
            await hand(house, lost="gone")
        assert house.engine.jobs["a"].body == BODY
        house.engine.finish("a")
        await house.settle()
        assert (ends(house), failures(gateway)) == ([("completed", True, "lost")], [])
        assert other.words == [], "the prefill half is over"


async def test_the_first_word_counts() -> None:
    async with agent_house() as house:
        await place_decode(house)
        await hand(house, params=PARAMS)
        await hand(house, lost="late")
        house.engine.finish("a")
        await house.settle()
        assert (ends(house), house.engine.aborted) == ([("completed", True, "taken")], [])


async def test_a_prefill_that_does_not_come_in_time_is_parted_from() -> None:
    async with agent_house() as house:
        await house.gateway()
        other = await other_agent(house)
        await place_decode(house)
        await house.clock.advance(PREFILL_TIMEOUT_S - 1)
        assert house.engine.jobs == {}
        await house.clock.advance(1.2)
        assert house.engine.jobs["a"].body == BODY
        assert other.parted == [prefill_key()]
        await hand(house, params=PARAMS)
        house.engine.finish("a")
        await house.settle()
        assert ends(house) == [("completed", True, "lost")]


async def test_a_cache_that_does_not_come_in_time_is_done_without() -> None:
    async with agent_house() as house:
        await house.gateway()
        await place_decode(house)
        await hand(house, params=PARAMS)
        await house.clock.advance(TRANSFER_TIMEOUT_S - 1)
        assert house.engine.aborted == []
        await house.clock.advance(1.2)
        assert (house.engine.aborted, house.engine.jobs["a"].body) == (["a"], BODY)
        house.engine.emit("a")
        await house.clock.advance(PREFILL_TIMEOUT_S)
        house.engine.finish("a")
        await house.settle()
        assert ends(house) == [("completed", True, "lost")]


async def test_nothing_that_an_engine_says_after_its_abort_is_the_answer() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        house.engine.stubborn = True
        await place_decode(house)
        await hand(house, params=PARAMS)
        await house.clock.advance(TRANSFER_TIMEOUT_S + 0.2)
        house.engine.emit("a", b"late")
        await house.settle()
        house.engine.finish("a", b"late")
        await house.settle()
        assert (gateway.chunks(), house.engine.active) == ([], {"a"}), "it began again, alone"
        house.engine.finish("a", b"end")
        await house.settle()
        assert [chunk.data for chunk in gateway.chunks()] == [b"end"]


async def test_a_first_token_in_time_leaves_all_the_time_for_the_rest() -> None:
    async with agent_house() as house:
        await house.gateway()
        await place_decode(house)
        await hand(house, params=PARAMS)
        house.engine.emit("a")
        await house.clock.advance(30.0)
        assert house.engine.aborted == []


async def test_an_engine_that_fails_before_its_first_token_computes_the_prompt_itself_but_once() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await place_decode(house)
        await hand(house, params=PARAMS)
        house.engine.fail("a", Failure(500, "lost connection with prefill instance"))
        await house.settle()
        assert (house.engine.active, house.engine.jobs["a"].body) == ({"a"}, BODY)
        house.engine.fail("a", Failure(500, "again"))
        await house.settle()
        assert (failures(gateway), ends(house)) == ([500], [("failed", False, "lost")])


async def test_the_requests_own_mistake_is_told_and_not_tried_again() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await place_decode(house)
        await hand(house, params=PARAMS)
        house.engine.fail("a", Failure(400, "no"))
        await house.settle()
        assert (failures(gateway), house.engine.active) == ([400], set())


@pytest.mark.parametrize("connector", ["nixl", "sglang"])
async def test_after_the_first_token_nothing_is_tried_again(connector: Connector) -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place_decode(house, connector=connector)
        await hand(house, params=PARAMS)
        house.engine.emit("a")
        await hand(house, lost="late")
        house.engine.fail("a", Failure(500, "broke"))
        await house.settle()
        assert (failures(gateway), ends(house)) == ([500], [("failed", True, "taken")])
        assert (house.engine.active, other.words) == (set(), [])


async def test_an_abort_while_it_waits_reaches_the_other_half() -> None:
    async with agent_house(slots=1) as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place_decode(house)
        await house.ask(Abort([decode_key()]))
        assert (ends(house), other.parted, gateway.chunks()) == ([("cancelled", False, "")], [prefill_key()], [])
        await house.place("next")
        assert house.engine.active == {"next"}


async def test_an_abort_after_the_hand_over_needs_no_word() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await place_decode(house)
        await hand(house, params=PARAMS)
        await house.ask(Abort([decode_key()]))
        assert (house.engine.aborted, other.words, ends(house)) == (["a"], [], [("cancelled", False, "")])


async def test_an_abort_that_overtakes_it_reaches_the_other_half_when_it_comes() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await house.ask(Abort([decode_key()]))
        await place_decode(house)
        assert (other.parted, house.engine.jobs) == ([prefill_key()], {})


async def test_the_deadline_ends_both_halves() -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place_decode(house, remaining_s=3.0)
        await house.clock.advance(3.2)
        assert (failures(gateway), other.parted) == ([504], [prefill_key()])
        assert ends(house) == [("expired", False, "")]


async def test_a_gateway_that_is_gone_ends_both_halves() -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place_decode(house)
        await gateway.leave()
        await house.clock.advance(10.0)
        assert (other.parted, ends(house)) == ([prefill_key()], [("cancelled", False, "")])


async def test_an_agent_that_leaves_gives_the_work_back_and_parts() -> None:
    async with agent_house(drain_s=1.0) as house:
        other = await other_agent(house)
        await place_decode(house)
        house.stop.set()
        await house.clock.advance(1.5)
        assert (ends(house), other.parted) == ([("refused", False, "")], [prefill_key()])


async def test_an_agent_that_drains_still_takes_the_hand_over() -> None:
    async with agent_house() as house:
        await place_decode(house)
        await house.ask(Drain())
        await hand(house, params=PARAMS)
        assert house.engine.active == {"a"}


async def test_what_is_refused_at_the_door_parts_but_a_second_copy_does_not() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await place_decode(house)
        await place_decode(house, epoch=2)
        assert other.words == []
        await place_decode(house, "b", boot="boot-0")
        assert other.parted == [prefill_key("b")]


async def test_a_lost_prefill_waits_for_the_body_where_it_is_needed() -> None:
    async with agent_house() as house:
        reference = house.others.subjects.body("ns", "ms", "a")
        await place_decode(house, body=b"", body_ref=reference, body_bytes=len(BODY))
        await hand(house, lost="gone")
        await (await house.others.blobs.put(reference, BODY, ttl_s=60.0))
        await house.clock.advance(0.9)
        assert house.engine.jobs["a"].body == BODY


async def test_an_abort_while_the_engine_lets_go_counts() -> None:
    async with agent_house() as house:
        await house.gateway()
        house.engine.stubborn = True
        await place_decode(house)
        await hand(house, params=PARAMS)
        await house.clock.advance(TRANSFER_TIMEOUT_S + 0.2)
        await house.ask(Abort([decode_key()]))
        house.engine.fail("a", Failure(499, "aborted"))
        await house.settle()
        assert (ends(house), house.engine.active) == ([("cancelled", False, "lost")], set())
