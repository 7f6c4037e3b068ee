"""The prefill half of a request: nothing for the gateway, one word for the agent that decodes."""

from __future__ import annotations

from unittest import mock

import msgspec
import pytest

from matrixinfer.bus.contracts.control import Abort, Drain, Dump, Replay, ReplayItem
from matrixinfer.bus.contracts.disaggregation import Connector, Handed, Parted
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import Finished
from matrixinfer.bus.errors import Unavailable
from support.agent import ME, AgentHouse, agent_house
from support.halves import PREFILL_TIMEOUT_S, counterpart, decode_key, other_agent, prefill_key, tell

PARAMS = b'{"remote_port":1}'
ANSWER = b'{"kv_transfer_params":' + PARAMS + b"}"
CONNECTORS: list[Connector] = ["sglang", "nixl", "mooncake", "lmcache", "http"]


async def place(house: AgentHouse, rid: str = "a", connector: Connector = "nixl", **fields: object) -> None:
    given = {"phase": "prefill", "counterpart": counterpart(connector), **fields}
    await house.place(rid, **given)


def ends(house: AgentHouse) -> list[tuple[str, bool]]:
    return [(finished.outcome, finished.started) for finished in house.finished]


@pytest.mark.parametrize("connector", CONNECTORS)
async def test_its_answer_goes_to_no_gateway_and_its_word_to_the_other_agent(connector: Connector) -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place(house, connector=connector, body=b'{"stream":true,"messages":[]}')
        job = house.engine.jobs["a"]
        assert not job.stream
        assert msgspec.json.decode(job.body)["max_tokens"] == 1
        house.engine.finish("a", ANSWER)
        await house.settle()
        assert gateway.frames == []
        assert [(f.key, f.outcome, f.started, f.handover) for f in house.finished] == [
            (prefill_key(), "completed", True, "")
        ]
        expected = {
            "sglang": [],
            "nixl": [Handed(decode_key(), "boot-o", PARAMS)],
            "mooncake": [Handed(decode_key(), "boot-o", PARAMS)],
            "lmcache": [Handed(decode_key(), "boot-o")],
            "http": [Handed(decode_key(), "boot-o")],
        }
        assert other.words == expected[connector]
        assert (await house.backlog()).unacknowledged == 0


async def test_its_chunks_cannot_be_replayed() -> None:
    async with agent_house() as house:
        await other_agent(house)
        await place(house)
        house.engine.finish("a", ANSWER)
        await house.settle()
        reply = await house.replayed(Replay([ReplayItem(prefill_key(), 0)]))
        assert (reply.chunks, reply.unknown) == ([], [prefill_key()])


async def test_an_answer_without_params_is_lost_where_decode_needs_them() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await place(house)
        house.engine.finish("a", b"{}")
        await house.settle()
        assert [bool(word.lost) for word in other.handed] == [True]


@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize(
    ("status", "is_the_requests_fault"), [(400, True), (422, True), (500, False), (503, False), (429, False)]
)
async def test_a_failed_engine_is_told_with_the_failure_that_is_the_requests_own(
    connector: Connector, status: int, is_the_requests_fault: bool
) -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place(house, connector=connector)
        failure = Failure(status, "why")
        house.engine.fail("a", failure)
        await house.settle()
        (word,) = other.handed
        assert "why" in word.lost
        assert word.fault == (failure if is_the_requests_fault else None)
        assert (ends(house), gateway.frames) == ([("failed", False)], [])


async def refused_by_draining(house: AgentHouse) -> None:
    await house.ask(Drain())
    await place(house)


async def refused_by_another_boot(house: AgentHouse) -> None:
    await place(house, boot="boot-0")


async def refused_by_an_old_epoch(house: AgentHouse) -> None:
    await house.ask(Dump("ns", "ms", 0, 9))
    await place(house)


async def refused_past_its_deadline(house: AgentHouse) -> None:
    await place(house, remaining_s=0.0)


@pytest.mark.parametrize(
    "refused",
    [refused_by_draining, refused_by_another_boot, refused_by_an_old_epoch, refused_past_its_deadline],
    ids=lambda case: case.__name__,
)
async def test_what_is_refused_at_the_door_is_lost(refused: object) -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await refused(house)  # type: ignore[operator]
        assert [(word.key, bool(word.lost)) for word in other.handed] == [(decode_key(), True)]
        assert house.engine.jobs == {}


async def test_a_second_copy_of_it_says_nothing() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await place(house)
        await place(house, epoch=2)
        assert other.words == []
        house.engine.finish("a", ANSWER)
        await house.settle()
        await place(house, epoch=3)
        assert len(other.words) == 1


async def test_one_that_takes_too_long_is_aborted_and_lost() -> None:
    async with agent_house() as house:
        await house.gateway()
        other = await other_agent(house)
        await place(house)
        await house.clock.advance(PREFILL_TIMEOUT_S - 1)
        assert (house.engine.aborted, other.words) == ([], [])
        await house.clock.advance(1.2)
        assert house.engine.aborted == ["a"]
        assert [bool(word.lost) for word in other.handed] == [True]
        assert ends(house) == [("failed", False)]


async def test_one_whose_body_is_gone_is_lost_and_the_gateway_hears_it_from_the_other_half() -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place(house, body=b"", body_ref=house.others.subjects.body("ns", "ms", "a"), body_bytes=9)
        await house.clock.advance(2.0)
        assert [bool(word.lost) for word in other.handed] == [True]
        assert gateway.frames == []


async def test_an_agent_that_leaves_says_so_before_it_is_gone() -> None:
    async with agent_house(drain_s=1.0) as house:
        other = await other_agent(house)
        await place(house)
        house.stop.set()
        await house.clock.advance(1.5)
        assert [bool(word.lost) for word in other.handed] == [True]
        assert ends(house) == [("refused", False)]


async def test_an_agent_that_leaves_waits_a_moment_for_its_last_word_to_be_heard() -> None:
    async with agent_house(drain_s=1.0) as house:
        other = await other_agent(house)
        other.deaf = True
        await place(house)
        house.stop.set()
        await house.clock.advance(1.5)
        assert not house.running.done()
        other.deaf = False
        await house.clock.advance(0.8)
        assert house.running.done()
        assert len(other.handed) == 2


async def test_an_agent_that_leaves_does_not_wait_long_for_one_who_does_not_hear() -> None:
    async with agent_house(drain_s=1.0) as house:
        await place(house)
        house.stop.set()
        await house.clock.advance(4.0)
        assert house.running.done()


async def by_abort(house: AgentHouse) -> None:
    await house.ask(Abort([prefill_key()]))


async def by_parted(house: AgentHouse) -> None:
    await tell(house, Parted(prefill_key(), ME.boot))


@pytest.mark.parametrize("cancel", [by_abort, by_parted])
async def test_a_cancel_ends_it_without_a_word(cancel: object) -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place(house)
        await cancel(house)  # type: ignore[operator]
        assert (house.engine.aborted, house.engine.active) == (["a"], set())
        assert (ends(house), other.words, gateway.frames) == ([("cancelled", False)], [], [])


@pytest.mark.parametrize("cancel", [by_abort, by_parted])
async def test_a_cancel_that_overtakes_it_ends_it_when_it_comes(cancel: object) -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await cancel(house)  # type: ignore[operator]
        await place(house)
        assert (house.engine.jobs, ends(house), other.words) == ({}, [("cancelled", False)], [])


async def test_a_word_for_an_earlier_life_changes_nothing_and_is_answered() -> None:
    async with agent_house() as house:
        await place(house)
        answer = await tell(house, Parted(prefill_key(), "boot-0"))
        assert answer.boot == ME.boot
        assert house.engine.active == {"a"}


async def test_a_gateway_that_is_gone_ends_it_without_a_word() -> None:
    async with agent_house() as house:
        gateway, other = await house.gateway(), await other_agent(house)
        await place(house)
        await gateway.leave()
        await house.clock.advance(10.0)
        assert (ends(house), other.words) == ([("cancelled", False)], [])


async def test_the_word_is_said_again_until_it_is_heard() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        other.deaf = True
        await place(house)
        house.engine.finish("a", ANSWER)
        await house.clock.advance(4.0)
        assert len(other.handed) >= 2
        other.deaf = False
        await house.clock.advance(3.0)
        count = len(other.handed)
        await house.clock.advance(10.0)
        assert len(other.handed) == count
        assert set(other.handed) == {Handed(decode_key(), "boot-o", PARAMS)}


async def test_it_is_said_again_when_the_bus_was_away() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await place(house)
        with mock.patch.object(house.bus.signals, "request", side_effect=Unavailable("away")):
            house.engine.finish("a", ANSWER)
            await house.clock.advance(10.0)
        assert other.words == []
        await house.clock.advance(1.5)
        assert len(other.words) == 1


async def test_it_is_not_said_any_more_when_the_request_is_past_its_deadline() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        other.deaf = True
        await place(house, remaining_s=15.0)
        house.engine.finish("a", ANSWER)
        await house.clock.advance(16.0)
        count = len(other.handed)
        assert count >= 2
        await house.clock.advance(20.0)
        assert len(other.handed) == count


async def test_a_word_about_a_deadline_that_passed_is_said_again_too() -> None:
    async with agent_house() as house:
        other = await other_agent(house)
        await place(house, remaining_s=2.0)
        with mock.patch.object(house.bus.signals, "request", side_effect=Unavailable("away")):
            await house.clock.advance(4.0)
        assert other.words == []
        await house.clock.advance(1.5)
        assert [bool(word.lost) for word in other.handed] == [True]


async def test_another_life_of_the_other_agent_ends_it() -> None:
    async with agent_house() as house:
        other = await other_agent(house, boot="boot-p")
        await place(house)
        house.engine.finish("a", ANSWER)
        await house.clock.advance(10.0)
        assert len(other.words) == 1


async def test_nobody_to_hear_it_for_long_ends_it() -> None:
    async with agent_house() as house:
        await place(house)
        house.engine.finish("a", ANSWER)
        await house.clock.advance(10.0)
        other = await other_agent(house)
        await house.clock.advance(10.0)
        assert other.words == []


async def test_it_counts_like_any_work() -> None:
    async with agent_house(slots=1) as house:
        await other_agent(house)
        await place(house)
        await place(house, "b")
        assert house.engine.active == {"a"}
        await house.clock.advance(0.6)
        assert house.events[-1].snapshot.waiting == [prefill_key()]
        house.engine.finish("a", ANSWER)
        await house.settle()
        assert house.engine.active == {"b"}
        assert all(isinstance(f, Finished) and f.usage.prompt_tokens == 10 for f in house.finished)
