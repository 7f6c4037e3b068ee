"""Chunks of one turn leave in one frame for each gateway."""

from __future__ import annotations

from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.outbox import (
    FORGET_LANE_S,
    FRAME_BYTES,
    LANES_BEFORE_FORGETTING,
    MAX_CHUNK_BYTES,
    OF_LATE_S,
    Outbox,
)
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Frame
from matrixinfer.bus.topology import MAX_PAYLOAD_BYTES

NOW = 100.0


def chunk(number: int, data: bytes = b"x", rid: str = "r") -> Chunk:
    return Chunk(rid, 1, 1, "whole", number, ChunkKind.DATA, data)


def take(outbox: Outbox, now: float = NOW) -> list[tuple[str, Frame]]:
    return [(subject, decode(data, Frame)) for subject, data in outbox.take(now)]


def new_outbox() -> Outbox:
    return Outbox(Identity("ns", "pod", "boot"))


def test_chunks_of_many_requests_leave_in_one_frame_for_each_gateway_in_order() -> None:
    outbox = new_outbox()
    one, other = outbox.lane("g", "frames.g", NOW), outbox.lane("h", "frames.h", NOW)
    chunks = [chunk(0, rid="a"), chunk(0, rid="b"), chunk(1, rid="a")]
    for each in chunks:
        outbox.add(one, each)
    outbox.add(other, chunk(0, rid="c"))
    frames = take(outbox)
    assert [(subject, frame.number) for subject, frame in frames] == [("frames.g", 1), ("frames.h", 1)]
    assert frames[0][1].chunks == chunks
    assert (frames[0][1].namespace, frames[0][1].pod, frames[0][1].boot) == ("ns", "pod", "boot")


def test_nothing_leaves_twice_and_numbers_go_on_for_each_gateway() -> None:
    outbox = new_outbox()
    lane = outbox.lane("g", "frames.g", NOW)
    for turn in range(3):
        outbox.add(lane, chunk(turn))
        assert [frame.number for _, frame in take(outbox)] == [turn + 1]
    assert take(outbox) == []
    assert outbox.lane("g", "frames.g", NOW) is lane


def test_a_turn_of_very_much_leaves_in_several_frames_that_the_server_takes() -> None:
    outbox = new_outbox()
    lane = outbox.lane("g", "frames.g", NOW)
    chunks = [chunk(n, bytes(size)) for n, size in enumerate([FRAME_BYTES // 2, FRAME_BYTES, MAX_CHUNK_BYTES, 1, 1])]
    for each in chunks:
        outbox.add(lane, each)
    encoded = [data for _, data in outbox.take(NOW)]
    frames = [decode(data, Frame) for data in encoded]
    assert max(map(len, encoded)) <= MAX_PAYLOAD_BYTES
    assert [frame.number for frame in frames] == [1, 2, 3, 4]
    assert [each for frame in frames for each in frame.chunks] == chunks


def test_the_numbers_told_are_those_of_the_last_minute() -> None:
    outbox = new_outbox()
    outbox.add(outbox.lane("g", "frames.g", NOW), chunk(0))
    take(outbox)
    outbox.add(outbox.lane("h", "frames.h", NOW), chunk(0))
    take(outbox, NOW + OF_LATE_S)
    assert outbox.numbers(NOW + OF_LATE_S) == {"g": 1, "h": 1}
    assert outbox.numbers(NOW + OF_LATE_S + 1) == {"h": 1}


def test_gateways_of_former_lives_do_not_pile_up() -> None:
    outbox = new_outbox()
    old = outbox.lane("old", "frames.old", NOW)
    later = NOW + FORGET_LANE_S + 1
    kept = outbox.lane("g0", "frames.g0", later)
    for n in range(1, LANES_BEFORE_FORGETTING + 1):
        outbox.lane(f"g{n}", f"frames.g{n}", later)
    assert outbox.lane("old", "frames.old", later) is not old
    assert outbox.lane("g0", "frames.g0", later) is kept


def test_a_greeting_is_a_frame_without_chunks_that_takes_no_number() -> None:
    outbox = new_outbox()
    outbox.add(outbox.lane("g", "frames.g", NOW), chunk(0))
    take(outbox)
    greeting = decode(outbox.greeting("g"), Frame)
    assert (greeting.number, greeting.chunks) == (1, [])
    assert outbox.numbers(NOW) == {"g": 1}
