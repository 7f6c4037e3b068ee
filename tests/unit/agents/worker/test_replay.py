"""What was sent can be had again, within a time and a memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.agents.worker.replay import CHUNK_OVERHEAD_BYTES, KEEP_ENDED_S, History, ReplayStore
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind
from matrixinfer.bus.contracts.load import WorkKey

SIZE = 100 + CHUNK_OVERHEAD_BYTES


def send(store: ReplayStore, history: History, numbers: range) -> None:
    for number in numbers:
        store.keep(history, Chunk(history.key.rid, 1, 1, "whole", number, ChunkKind.DATA, b"x" * 100))


def numbers(chunks: list[Chunk] | None) -> list[int] | None:
    return None if chunks is None else [chunk.number for chunk in chunks]


def test_the_chunks_from_a_number_on_come_again() -> None:
    store = ReplayStore(10 * SIZE)
    send(store, store.open(WorkKey("r", 1, 1)), range(4))
    assert numbers(store.since(WorkKey("r", 1, 1), 2)) == [2, 3]
    assert numbers(store.since(WorkKey("r", 1, 1), 4)) == []


def test_what_never_ran_is_unknown_and_what_has_not_spoken_yet_is_not() -> None:
    store = ReplayStore(10 * SIZE)
    store.open(WorkKey("r", 1, 1))
    assert store.since(WorkKey("r", 1, 1), 0) == []
    assert store.since(WorkKey("r", 1, 2), 0) is None


def test_ended_chunks_are_kept_for_ten_seconds() -> None:
    store = ReplayStore(10 * SIZE)
    history = store.open(WorkKey("r", 1, 1))
    send(store, history, range(2))
    store.end(history, 100.0)
    store.forget(100.0 + KEEP_ENDED_S - 0.1)
    assert numbers(store.since(history.key, 0)) == [0, 1]
    store.forget(100.0 + KEEP_ENDED_S)
    assert store.since(history.key, 0) is None
    assert store.size_bytes == 0


def test_when_memory_runs_out_the_oldest_ended_goes_first_and_what_runs_stays() -> None:
    store = ReplayStore(6 * SIZE)
    first, second, running = (store.open(WorkKey(rid, 1, 1)) for rid in ("first", "second", "running"))
    for history in (running, second, first):
        send(store, history, range(2))
    store.end(second, 100.0)
    store.end(first, 101.0)
    send(store, running, range(2, 3))
    assert store.since(second.key, 0) is None
    assert numbers(store.since(first.key, 0)) == [0, 1]
    assert numbers(store.since(running.key, 0)) == [0, 1, 2]


def test_when_only_running_work_is_left_its_oldest_chunks_go() -> None:
    store = ReplayStore(3 * SIZE)
    history = store.open(WorkKey("r", 1, 1))
    send(store, history, range(5))
    assert store.since(history.key, 1) is None
    assert numbers(store.since(history.key, 2)) == [2, 3, 4]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.booleans()), max_size=80), st.integers(1, 8))
def test_the_bound_holds_and_an_answer_is_always_the_complete_rest(
    steps: list[tuple[int, int, bool]], limit: int
) -> None:
    store = ReplayStore(limit * SIZE)
    open_now: dict[int, History] = {}
    sent: dict[WorkKey, int] = {}
    for at, (slot, size, ends) in enumerate(steps):
        history = open_now.get(slot) or store.open(WorkKey(f"{slot}-{at}", 1, 1))
        open_now[slot] = history
        number = sent.get(history.key, 0)
        store.keep(history, Chunk(history.key.rid, 1, 1, "whole", number, ChunkKind.DATA, b"x" * size))
        sent[history.key] = number + 1
        if ends:
            store.end(open_now.pop(slot), at / 10)
        assert store.size_bytes <= limit * SIZE
        for key, count in sent.items():
            for start in range(count + 1):
                assert numbers(store.since(key, start)) in (None, list(range(start, count)))
