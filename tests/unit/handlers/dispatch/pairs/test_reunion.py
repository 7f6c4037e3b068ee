"""Pairs of a predecessor, and halves whose agents die when nobody else knows of the other one."""

from __future__ import annotations

import pytest

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.load import Snapshot, WorkKey
from matrixinfer.handlers.dispatch.effects import Effects
from support.paired_pool import AUTO, Pool

DECODE, PREFILL = WorkKey("r", 1, 3, "decode"), WorkKey("r", 1, 3, "prefill")


def dump(pool: Pool, pod: str, *waiting: WorkKey) -> None:
    pool.state.dumped(pod, Dumped(f"{pod}-1", 1, False, Snapshot(2, waiting=list(waiting)), []), pool.now, pool.now)


def successor() -> Pool:
    pool = Pool(AUTO, p="prefill", d="decode")
    pool.state.begin_reign(2, pool.now)
    return pool


def told(effects: Effects) -> list[tuple[str, WorkKey]]:
    return [(pod, handed.key) for pod, handed in effects.handed if handed.lost]


def lose(pool: Pool, name: str) -> Effects:
    """Nobody hears of it any more, and nobody answers to its name."""
    for _ in range(16):
        pool.now += 0.25
        pool.tell("d")
        pool.state.fleet.tick(pool.now, 0.0)
    assert pool.state.fleet.pods[name].silent
    return pool.state.lost(name, died=True)


@pytest.mark.parametrize("order", ["pd", "dp"])
@pytest.mark.parametrize("request_first", [False, True])
def test_a_successor_tells_the_decode_half_that_it_adopted_when_the_prefill_agent_dies(
    order: str, request_first: bool
) -> None:
    pool = successor()
    if request_first:
        for name in order:
            pool.state.fleet.pause(name, pool.now + 1.0)
        assert pool.ask() == []
    for name in order:
        dump(pool, name, PREFILL if name == "p" else DECODE)
    if not request_first:
        assert pool.ask() == []

    assert told(lose(pool, "p")) == [("d", DECODE)]
    assert pool.state.cancel(("r", 1), 10.0, pool.now).aborted == [("d", DECODE)], "the other half is given up"


def test_a_cancel_reaches_both_halves_of_an_adopted_pair() -> None:
    pool = successor()
    dump(pool, "p", PREFILL)
    dump(pool, "d", DECODE)
    pool.ask()

    assert set(pool.state.cancel(("r", 1), 10.0, pool.now).aborted) == {("d", DECODE), ("p", PREFILL)}


def test_an_adopted_decode_half_whose_prefill_half_no_agent_has_learns_that_it_waits_in_vain_once() -> None:
    pool = successor()
    dump(pool, "p")
    dump(pool, "d", DECODE)
    pool.ask()
    pool.now += 2.9
    assert told(pool.state.give_up_halves(pool.now)) == [], "its agent may tell later"
    pool.now += 0.2
    assert told(pool.state.give_up_halves(pool.now)) == [("d", DECODE)]
    assert told(pool.state.give_up_halves(pool.now)) == []


def test_an_adopted_pair_that_is_whole_is_left_alone() -> None:
    pool = successor()
    dump(pool, "d", DECODE)
    pool.ask()
    pool.now += 2.0
    dump(pool, "p", PREFILL)
    pool.now += 2.0

    assert told(pool.state.give_up_halves(pool.now)) == []


def test_a_prefill_half_whose_request_had_to_be_placed_anew_is_ended_once() -> None:
    pool = successor()
    dump(pool, "p", PREFILL)
    dump(pool, "d")
    assert len(pool.ask()) == 1
    pool.now += 3.1
    assert pool.state.give_up_halves(pool.now).aborted == [("p", PREFILL)]
    pool.now += 3.1
    assert pool.state.give_up_halves(pool.now).aborted == []


def test_a_prefill_half_of_a_request_that_is_not_ours_is_left_alone() -> None:
    pool = successor()
    dump(pool, "p", PREFILL)
    pool.now += 3.1

    assert pool.state.give_up_halves(pool.now).aborted == []


def test_an_adopted_decode_half_that_started_is_told_nothing() -> None:
    pool = successor()
    dump(pool, "p")
    dump(pool, "d", DECODE)
    pool.ask()
    pool.sequences["d"] = 1
    pool.tell("d", started=(DECODE,))
    pool.now += 4.0

    assert told(pool.state.give_up_halves(pool.now)) == []


def test_a_prefill_agent_that_died_before_its_last_word_was_heard_is_spoken_for() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    pool.end_prefill(placement)

    assert told(lose(pool, "p")) == [("d", placement.work)]


def test_who_has_started_is_told_nothing_of_the_death_of_its_prefill_agent() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    pool.end_prefill(placement)
    pool.tell("d", started=(placement.work,))

    assert told(lose(pool, "p")) == []
