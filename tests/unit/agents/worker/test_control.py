"""What an agent does when it is asked."""

from __future__ import annotations

import pytest

from matrixinfer.agents.worker.control import REPLAYED_BYTES
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.control import Abort, CacheDump, CacheDumped, Done, Drain, Dump, Ping, Replay, ReplayItem
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import TimedOut
from support.agent import ME, agent_house

A, B = WorkKey("a", 1, 1), WorkKey("b", 1, 1)


async def test_a_ping_is_answered_with_the_boot() -> None:
    async with agent_house() as house:
        assert await house.ask(Ping()) == Done(ME.boot)


async def test_an_order_that_cannot_be_read_gets_no_answer_and_does_no_harm() -> None:
    async with agent_house() as house:
        subject = house.others.subjects.control(ME.namespace, ME.pod)
        question = house.others.signals.request(subject, b"\x91\xa7unknown", timeout_s=0.0)
        with pytest.raises(TimedOut):
            await question
        assert await house.ask(Ping()) == Done(ME.boot)


async def test_an_abort_of_running_work_frees_its_slot_and_tells_the_gateway() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        house.engine.emit("a")
        assert await house.ask(Abort([A])) == Done(ME.boot)
        assert house.engine.active == set()
        last = gateway.chunks("a")[-1]
        assert (last.kind, decode(last.data, Failure).code) == (ChunkKind.FAILED, "cancelled")
        assert [(f.outcome, f.started) for f in house.finished] == [("cancelled", True)]


async def test_an_abort_of_waiting_work_says_nothing_to_a_gateway_that_may_wait_for_another_hop() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        await house.ask(Abort([A]))
        assert gateway.chunks() == []
        assert [(f.outcome, f.started) for f in house.finished] == [("cancelled", False)]
        assert (await house.backlog()).unacknowledged == 0


async def test_a_replay_gives_the_missing_chunks_of_what_runs_and_of_what_ended() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        await house.place("b")
        for n in range(4):
            house.engine.emit("a", b"%d" % n)
        house.engine.finish("b", b"whole")
        await house.settle()
        reply = await house.replayed(Replay([ReplayItem(A, 2), ReplayItem(B, 0), ReplayItem(WorkKey("c", 1, 1), 0)]))
        assert reply.boot == ME.boot
        assert reply.chunks == [c for c in gateway.chunks("a") if c.number >= 2] + gateway.chunks("b")
        assert reply.unknown == [WorkKey("c", 1, 1)]


async def test_a_replay_is_possible_for_ten_seconds_after_the_end() -> None:
    async with agent_house() as house:
        await house.place("a")
        house.engine.finish("a")
        await house.clock.advance(9.0)
        assert len((await house.replayed(Replay([ReplayItem(A, 0)]))).chunks) == 1
        await house.clock.advance(1.0)
        assert (await house.replayed(Replay([ReplayItem(A, 0)]))).unknown == [A]


async def test_frames_lost_while_the_gateway_was_cut_off_can_be_had_again() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        house.engine.emit("a", b"0")
        await house.settle()
        house.broker.drop_connection(house.others)
        for n in range(1, 4):
            house.engine.emit("a", b"%d" % n)
            await house.settle()
        house.broker.restore_connection(house.others)
        house.engine.emit("a", b"4")
        await house.settle()
        assert [c.number for c in gateway.chunks()] == [0, 4]
        reply = await house.replayed(Replay([ReplayItem(A, 1)]))
        assert [(c.number, c.data) for c in reply.chunks] == [(n, b"%d" % n) for n in range(1, 5)]


async def test_a_replay_larger_than_a_message_is_answered_in_parts() -> None:
    async with agent_house(replay_bytes=4 * REPLAYED_BYTES) as house:
        await house.place("a")
        piece_bytes = REPLAYED_BYTES // 4
        for _ in range(10):
            house.engine.emit("a", bytes(piece_bytes))
        await house.settle()
        got: list[int] = []
        while len(got) < 10:
            reply = await house.replayed(Replay([ReplayItem(A, len(got))]))
            assert 0 < sum(len(c.data) for c in reply.chunks) <= REPLAYED_BYTES + piece_bytes
            got += [c.number for c in reply.chunks]
        assert got == list(range(10))


async def test_a_dump_tells_what_waits_runs_and_ended() -> None:
    async with agent_house() as house:
        await house.gateway()
        for rid in ("ended", "a", "b"):
            await house.place(rid)
        house.engine.finish("ended")
        house.engine.emit("a")
        await house.settle()
        dumped = await house.dumped(Dump("ns", "ms", 0, epoch=2))
        assert (dumped.boot, dumped.draining, dumped.sequence) == (ME.boot, False, house.events[-1].sequence)
        assert (dumped.snapshot.running, dumped.snapshot.waiting) == ([A], [B])
        assert [(f.key.rid, f.outcome) for f in dumped.finished] == [("ended", "completed")]
        await house.clock.advance(60.0)
        assert (await house.dumped(Dump("ns", "ms", 0, epoch=2))).finished == []


async def test_a_drain_order_finishes_what_runs_and_refuses_the_rest() -> None:
    async with agent_house() as house:
        await house.place("a")
        assert await house.ask(Drain()) == Done(ME.boot)
        assert house.events[-1].draining
        await house.place("b")
        house.engine.finish("a")
        await house.settle()
        assert [(f.key.rid, f.outcome) for f in house.finished] == [("b", "refused"), ("a", "completed")]
        assert (await house.dumped(Dump("ns", "ms", 0, epoch=1))).draining
        assert house.running is not None
        assert not house.running.done()


async def test_an_agent_whose_engine_tells_nothing_of_its_cache_answers_that_it_knows_of_no_block() -> None:
    async with agent_house() as house:
        assert await house.ask(CacheDump()) == CacheDumped(ME.boot, 0)
