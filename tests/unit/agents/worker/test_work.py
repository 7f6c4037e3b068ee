"""From the queue through the engine into frames and load events."""

from __future__ import annotations

import pytest

from matrixinfer.agents.worker.outbox import MAX_CHUNK_BYTES
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.control import Abort, Dump
from matrixinfer.bus.contracts.frames import ChunkKind, Failure, Usage
from matrixinfer.bus.contracts.load import WorkKey
from support.agent import agent_house


async def test_the_first_load_event_tells_the_slots_and_the_engine() -> None:
    async with agent_house(slots=3) as house:
        first = house.events[0]
        assert (first.namespace, first.pod, first.boot, first.sequence) == ("ns", "pod.0", "boot-1", 1)
        assert first.snapshot is not None
        assert (first.snapshot.slots, first.snapshot.running_tokens, first.snapshot.waiting_tokens) == (3, 7, 3)
        assert (first.snapshot.kv_usage, first.snapshot.kv_capacity_tokens) == (0.25, 1000)
        assert first.snapshot.adapters == ["lora"]


async def test_no_more_is_pulled_than_there_are_slots_and_an_end_frees_one() -> None:
    async with agent_house(slots=2) as house:
        for rid in ("a", "b", "c", "d"):
            await house.place(rid)
        assert house.engine.active == {"a", "b"}
        assert (await house.backlog()).waiting == 2
        house.engine.finish("b")
        await house.settle()
        assert house.engine.active == {"a", "c"}


async def test_the_engine_gets_the_request_as_it_came() -> None:
    async with agent_house() as house:
        await house.place("a", body=b'{"x":1}', model="name", adapter="lora", stream=False, endpoint="completions")
        await house.place("b", model="")
        job = house.engine.jobs["a"]
        assert (job.endpoint, job.model, job.stream, job.body, job.adapter) == (
            "completions",
            "name",
            False,
            b'{"x":1}',
            "lora",
        )
        assert house.engine.jobs["b"].model == "m"


async def test_the_engine_is_told_a_prompts_length_where_it_was_counted_and_not_where_it_was_guessed() -> None:
    async with agent_house() as house:
        await house.place("a", prompt_tokens=700, block_hashes=b"x" * 16, tokenized=True)
        await house.place("b", prompt_tokens=700, block_hashes=b"x" * 16)
        jobs = house.engine.jobs
        assert [(jobs[rid].prompt_tokens, jobs[rid].block_hashes) for rid in "ab"] == [(700, b"x" * 16), (0, b"x" * 16)]


async def test_work_is_acknowledged_at_its_first_piece_and_not_before() -> None:
    async with agent_house() as house:
        await house.place("a")
        assert (await house.backlog()).unacknowledged == 1
        house.engine.emit("a")
        await house.settle()
        assert (await house.backlog()).unacknowledged == 0


async def test_work_that_waits_long_for_its_first_token_is_not_delivered_again() -> None:
    async with agent_house() as house:
        await house.gateway()
        await house.place("a")
        await house.clock.advance(30.0)  # a copy would be known as a duplicate, and acknowledged
        assert (await house.backlog()).unacknowledged == 1


async def test_pieces_become_chunks_in_order_and_the_last_one_carries_the_usage() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a", attempt=2, hop=3)
        house.engine.emit("a", b"one")
        await house.settle()
        house.engine.emit("a", b"two")
        house.engine.finish("a", b"end", output_tokens=3)
        await house.settle()
        chunks = gateway.chunks()
        assert [(c.number, c.kind, c.data) for c in chunks] == [
            (0, ChunkKind.DATA, b"one"),
            (1, ChunkKind.DATA, b"two"),
            (2, ChunkKind.END, b"end"),
        ]
        assert {(c.rid, c.attempt, c.hop, c.phase) for c in chunks} == {("a", 2, 3, "whole")}
        assert [c.usage for c in chunks] == [None, None, Usage(10, 2, 3)]
        assert [(f.namespace, f.pod, f.boot, f.number) for f in gateway.frames] == [
            ("ns", "pod.0", "boot-1", 1),
            ("ns", "pod.0", "boot-1", 2),
        ]


async def test_many_requests_of_one_turn_leave_in_one_frame_for_each_gateway() -> None:
    async with agent_house(slots=40) as house:
        one, other = await house.gateway("g1"), await house.gateway("g2")
        for n in range(40):
            await house.place(f"r{n}", gateway="g1" if n % 2 else "g2")
        for n in range(40):
            house.engine.emit(f"r{n}")
        await house.settle()
        assert [len(frame.chunks) for frame in one.frames] == [20]
        assert [len(frame.chunks) for frame in other.frames] == [20]


async def test_a_whole_answer_is_one_last_chunk() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a", stream=False)
        house.engine.finish("a", b'{"answer":1}')
        await house.settle()
        assert [(c.number, c.kind, c.data, c.usage) for c in gateway.chunks()] == [
            (0, ChunkKind.END, b'{"answer":1}', Usage(10, 2, 5))
        ]
        assert [(f.outcome, f.started) for f in house.finished] == [("completed", True)]
        assert (await house.backlog()).unacknowledged == 0


async def test_starts_and_ends_are_told_in_their_turn_and_without_a_hole_in_the_sequence() -> None:
    async with agent_house() as house:
        await house.place("a")
        await house.clock.advance(0.2)
        house.engine.emit("a")
        await house.settle()
        assert house.started == [WorkKey("a", 1, 1)]
        await house.clock.advance(0.4)
        house.engine.finish("a")
        await house.settle()
        finished = house.finished[-1]
        assert (finished.key, finished.outcome, finished.started) == (WorkKey("a", 1, 1), "completed", True)
        assert finished.ttft_s == pytest.approx(0.2)
        assert finished.duration_s == pytest.approx(0.6)
        await house.clock.advance(2.0)
        assert [event.sequence for event in house.events] == list(range(1, len(house.events) + 1))
        last = house.events[-1].snapshot
        assert last is not None
        assert last.ttft_s == pytest.approx(0.2)
        assert last.tpot_s == pytest.approx(0.1)


async def test_snapshots_come_twice_a_second_and_tell_what_waits_and_runs() -> None:
    async with agent_house() as house:
        await house.gateway()
        await house.place("a")
        await house.place("b")
        house.engine.emit("a")
        await house.settle()
        count = len(house.events)
        await house.clock.advance(3.0)
        snapshots = [event.snapshot for event in house.events[count:] if event.snapshot is not None]
        assert len(snapshots) in (6, 7)
        assert (snapshots[-1].running, snapshots[-1].waiting) == ([WorkKey("a", 1, 1)], [WorkKey("b", 1, 1)])
        assert snapshots[-1].frame_numbers == {"g1": 1}


async def test_many_changes_in_a_short_time_make_few_snapshots() -> None:
    async with agent_house() as house:
        for n in range(20):
            await house.place(f"r{n}")
            house.engine.finish(f"r{n}")
            await house.clock.advance(0.001)
        await house.clock.advance(0.03)
        assert len(house.finished) == 20
        assert sum(event.snapshot is not None for event in house.events) <= 5
        assert house.events[-1].snapshot is not None
        assert house.events[-1].snapshot.running == []


async def test_a_second_copy_is_acknowledged_and_ignored_while_it_runs_and_after() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a", epoch=1)
        house.engine.emit("a")
        await house.place("a", epoch=2)
        house.engine.finish("a")
        await house.settle()
        await house.place("a", epoch=3)
        assert len(gateway.chunks()) == 2
        assert len(house.finished) == 1
        backlog = await house.backlog()
        assert (backlog.waiting, backlog.unacknowledged) == (0, 0)


async def test_refused_work_frees_its_credit() -> None:
    async with agent_house(slots=1) as house:
        for n in range(5):
            await house.place(f"r{n}", boot="earlier")
        await house.place("good")
        assert house.engine.active == {"good"}
        assert [f.outcome for f in house.finished] == ["refused"] * 5
        assert (await house.backlog()).waiting == 0


async def test_work_of_an_older_epoch_than_a_dump_told_is_refused() -> None:
    async with agent_house() as house:
        await house.dumped(Dump("ns", "ms", 0, epoch=7))
        await house.place("old", epoch=6)
        await house.place("new", epoch=7)
        assert house.engine.active == {"new"}
        assert [(f.key.rid, f.outcome, f.started) for f in house.finished] == [("old", "refused", False)]


async def test_work_that_was_aborted_before_it_came_does_not_run() -> None:
    async with agent_house() as house:
        await house.ask(Abort([WorkKey("a", 1, 1)]))
        await house.place("a")
        assert house.engine.active == set()
        assert [(f.outcome, f.started) for f in house.finished] == [("cancelled", False)]


async def test_work_whose_deadline_passed_in_the_queue_does_not_run() -> None:
    async with agent_house(slots=1) as house:
        await house.place("first", remaining_s=60.0)
        await house.place("late", remaining_s=2.0)
        await house.clock.advance(3.0)
        house.engine.finish("first")
        await house.settle()
        assert house.engine.active == set()
        assert [(f.key.rid, f.outcome) for f in house.finished] == [("first", "completed"), ("late", "expired")]


async def test_past_its_deadline_work_is_aborted_and_the_gateway_is_told() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a", remaining_s=5.0)
        await house.place("b", remaining_s=50.0)
        house.engine.emit("a")
        await house.clock.advance(5.2)
        assert house.engine.active == {"b"}
        failed = gateway.chunks("a")[-1]
        failure = decode(failed.data, Failure)
        assert (failed.kind, failure.status, failure.code) == (ChunkKind.FAILED, 504, "deadline_exceeded")
        assert [(f.outcome, f.started) for f in house.finished] == [("expired", True)]


async def test_the_gateway_hears_of_the_deadline_even_if_the_engine_is_slow_to_let_go() -> None:
    async with agent_house(slots=1) as house:
        gateway = await house.gateway()
        house.engine.stubborn = True
        await house.place("a", remaining_s=5.0)
        await house.place("next")
        await house.clock.advance(5.2)
        assert [c.kind for c in gateway.chunks()] == [ChunkKind.FAILED]
        assert house.finished == []
        assert house.engine.active == {"a"}  # its slot is taken until the engine says its last word
        house.engine.emit("a")
        house.engine.finish("a")
        await house.settle()
        assert [c.kind for c in gateway.chunks()] == [ChunkKind.FAILED]
        assert [f.outcome for f in house.finished] == ["expired"]
        assert house.engine.active == {"next"}


async def test_an_engines_failure_is_relayed_and_settles_the_work() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        house.engine.fail("a", Failure(400, "too many tokens", type="invalid_request_error", code="context_length"))
        await house.settle()
        (chunk,) = gateway.chunks()
        assert (chunk.kind, chunk.number) == (ChunkKind.FAILED, 0)
        assert decode(chunk.data, Failure).code == "context_length"
        assert [(f.outcome, f.started) for f in house.finished] == [("failed", False)]
        assert (await house.backlog()).unacknowledged == 0


async def test_an_engine_that_raises_costs_one_request_only() -> None:
    async with agent_house(slots=1) as house:
        gateway = await house.gateway()
        generate = house.engine.generate
        house.engine.generate = lambda job, emit: 1 / 0  # type: ignore[method-assign, assignment]
        await house.place("a")
        house.engine.generate = generate  # type: ignore[method-assign]
        await house.place("b")
        assert [decode(c.data, Failure).status for c in gateway.chunks("a")] == [500]
        assert house.engine.active == {"b"}


async def test_an_answer_too_large_for_the_bus_ends_with_an_error_that_says_so() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a")
        await house.place("b")
        house.engine.finish("a", bytes(MAX_CHUNK_BYTES + 1))
        house.engine.emit("b", bytes(MAX_CHUNK_BYTES + 1))
        await house.settle()
        assert [decode(c.data, Failure).code for c in gateway.chunks()] == ["answer_too_large"] * 2
        assert [f.outcome for f in house.finished] == ["failed", "failed"]
        assert house.engine.active == set()


async def test_two_attempts_of_one_request_can_run_side_by_side() -> None:
    async with agent_house() as house:
        gateway = await house.gateway()
        await house.place("a", attempt=1)
        await house.place("a", attempt=2)
        for rid in house.engine.active:
            house.engine.emit(rid)
        await house.settle()
        assert sorted(c.attempt for c in gateway.chunks("a")) == [1, 2]


async def test_work_that_cannot_be_read_becomes_a_dead_letter_and_frees_its_credit() -> None:
    async with agent_house(slots=1) as house:
        await house.post(b"\x93nonsense", "bad")
        await house.place("good")
        assert house.engine.active == {"good"}
        assert (await house.backlog()).unacknowledged == 1
        (letter,) = await house.dead_letters()
        assert (letter.stream, letter.message_id, letter.data) == ("WORK", "bad", b"\x93nonsense")
