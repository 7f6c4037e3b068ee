"""The exact index says what a dictionary of sets says, in less room; where it lacks room, it says less."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts.cache import Tier
from matrixinfer.handlers.dispatch.cache_index.holder_sets import Holders
from matrixinfer.handlers.dispatch.cache_index.kv_index import KvIndex, TierWeights
from support.naive_index import NaiveIndex

PODS = ["a", "b", "c"]
TIERS = ["gpu", "cpu", "disk"]
FOUR_SEGMENTS = 4 * 2048


def packed(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


# many of them begin at the same slot, and every segment gets some
numbers = st.builds(lambda segment, slot: segment << 62 | slot, st.integers(0, 3), st.integers(1, 12))
chains = st.lists(numbers, max_size=16).map(lambda chain: packed(*chain))
changes = st.tuples(st.sampled_from(["stored", "removed"]), st.sampled_from(PODS), chains, st.sampled_from(TIERS))
ends = st.tuples(st.sampled_from(["cleared", "dropped"]), st.sampled_from(PODS))
cleanings = st.tuples(st.just("clean"), st.integers(1, 4))
histories = st.lists(st.one_of(changes, changes, ends, cleanings), max_size=60)


def live_through(history, index: KvIndex) -> NaiveIndex:
    """Give the index a history; what the naive one knows after the same."""
    naive = NaiveIndex()
    for what, *arguments in history:
        getattr(index, what)(*arguments)
        if what != "clean":
            getattr(naive, what)(*arguments)
    return naive


@settings(deadline=None)
@given(histories, st.lists(chains))
def test_after_any_history_it_says_what_a_dictionary_of_sets_says(history, questions):
    index = KvIndex(FOUR_SEGMENTS)
    naive = live_through(history, index)

    for chain in [packed(), *questions, *(part[2] for part in history if part[0] in ("stored", "removed"))]:
        assert index.matches(chain) == pytest.approx(naive.matches(chain))


@settings(deadline=None)
@given(histories)
def test_when_it_is_clean_it_keeps_just_the_blocks_that_somebody_has(history):
    index = KvIndex(FOUR_SEGMENTS)
    naive = live_through(history, index)
    while index.clean():
        pass

    assert len(index) == len(naive)


ROUNDING = 1e-6
"""The two add weighted tokens up in another order."""


@settings(deadline=None)
@given(histories, st.integers(1, 6), st.integers(2, 5), chains)
def test_without_enough_room_it_claims_less_but_never_more(history, capacity_blocks, capacity_sets, question):
    index = KvIndex(capacity_blocks, capacity_sets)
    naive = live_through(history, index)

    claimed, there = index.matches(question), naive.matches(question)
    assert all(tokens <= there.get(pod, 0) + ROUNDING for pod, tokens in claimed.items())
    assert len(index) <= capacity_blocks


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3000))
def test_thousands_of_blocks_come_go_and_are_found(seed, count):
    rng = random.Random(seed)
    index, naive = KvIndex(2 * count), NaiveIndex()
    kept, gone = rng.randbytes(8 * count), rng.randbytes(8 * count)
    for known in (index, naive):
        known.stored("a", gone)
        known.stored("a", kept)
        known.removed("a", gone)

    assert len(index) == len(naive) == count
    assert index.matches(kept) == naive.matches(kept)
    assert index.matches(gone) == {}


def test_the_longest_run_begins_at_the_first_block():
    index = KvIndex()
    index.stored("all", packed(1, 2, 3))
    index.stored("hole", packed(1, 3))
    index.stored("tail", packed(2, 3))

    assert index.matches(packed(1, 2, 3, 4)) == {"all": 3 * 256, "hole": 256}


@pytest.mark.parametrize(
    ("stored", "tokens"),
    [
        ([("gpu", 1), ("gpu", 2)], 512),
        ([("cpu", 1), ("gpu", 2)], 0.8 * 256 + 256),
        ([("gpu", 1), ("disk", 2)], 256 + 0.5 * 256),
        ([("disk", 1), ("cpu", 1), ("gpu", 1)], 256),
        ([("disk", 2)], 0),
    ],
)
def test_a_block_counts_by_the_best_tier_that_has_it(stored, tokens):
    index = KvIndex()
    for tier, number in stored:
        index.stored("a", packed(number), tier)

    assert index.matches(packed(1, 2)).get("a", 0) == pytest.approx(tokens)


def test_the_weights_of_the_tiers_can_be_set_and_changed():
    index = KvIndex(weights=TierWeights(gpu=0.9, cpu=0.0))
    index.stored("a", packed(1))
    index.stored("b", packed(1), "cpu")
    assert index.matches(packed(1)) == pytest.approx({"a": 0.9 * 256})

    index.weights = TierWeights(gpu=0.0, cpu=0.5)
    assert index.matches(packed(1)) == pytest.approx({"b": 0.5 * 256})


def test_the_index_has_the_tiers_of_the_contract():
    assert Holders._fields == TierWeights._fields == get_args(Tier)


def test_the_predicted_cached_tokens_count_every_tier_whole():
    index = KvIndex()
    index.stored("a", packed(1), "disk")
    index.stored("a", packed(2), "cpu")
    index.stored("b", packed(1, 2, 3))

    assert [index.cached_tokens(pod, packed(1, 2, 3)) for pod in ("a", "b", "stranger")] == [512, 768, 0]


def test_a_block_removed_from_one_tier_stays_in_the_other():
    index = KvIndex()
    index.stored("a", packed(1), "gpu")
    index.stored("a", packed(1), "cpu")
    index.removed("a", packed(1), "gpu")

    assert index.matches(packed(1)) == pytest.approx({"a": 0.8 * 256})


def test_a_full_index_refuses_new_blocks_takes_new_holders_and_has_room_after_a_removal():
    index = KvIndex(2)
    index.stored("a", packed(1, 2, 3))
    index.stored("b", packed(1, 2, 3))
    assert index.matches(packed(1, 2, 3)) == {"a": 512, "b": 512}
    assert index.refused_blocks == 2

    for pod in ("a", "b"):
        index.removed(pod, packed(2))
    index.stored("b", packed(4))
    assert index.matches(packed(4)) == {"b": 256}


def test_what_a_dropped_pod_had_is_not_its_successors():
    index = KvIndex(FOUR_SEGMENTS)
    index.stored("a", packed(1, 2))
    index.stored("b", packed(1))
    index.dropped("a")
    assert index.clean(1)
    index.stored("c", packed(3))
    assert index.matches(packed(1, 2)) == {"b": 256}

    while index.clean():
        pass
    index.stored("d", packed(3))
    assert index.matches(packed(1, 2)) == {"b": 256}
    assert index.matches(packed(3)) == {"c": 256, "d": 256}


def test_a_pod_that_goes_while_another_is_cleaned_out_keeps_its_bit_for_one_pass_more():
    index = KvIndex(FOUR_SEGMENTS)
    for pod in ("a", "b"):
        index.stored(pod, packed(1))
    index.dropped("a")
    assert index.clean(1)  # past the segment of block 1
    index.dropped("b")
    assert index.clean(3)
    for pod in ("c", "d"):
        index.stored(pod, packed(2))
    assert index.matches(packed(1)) == {}

    while index.clean():
        pass
    assert len(index) == 1


def test_a_name_is_not_remembered_for_a_bit_that_has_another_pod():
    index = KvIndex(FOUR_SEGMENTS)
    index.stored("old", packed(1))
    assert index.matches(packed(1)) == {"old": 256}
    index.dropped("old")
    while index.clean():
        pass

    index.stored("new", packed(1))
    assert index.matches(packed(1)) == {"new": 256}


def test_the_hash_0_is_nobodys_block():
    index = KvIndex()
    index.stored("a", packed(0, 1))
    index.removed("a", packed(0))

    assert (len(index), index.matches(packed(0)), index.matches(packed(1))) == (1, {}, {"a": 256})


def test_cleaning_is_done_a_few_segments_at_a_time():
    index = KvIndex(FOUR_SEGMENTS)
    index.stored("a", packed(1))
    assert not index.clean()

    index.dropped("a")
    assert [index.clean(1) for _ in range(5)] == [True, True, True, False, False]


def test_a_cleaned_index_gives_its_memory_back():
    index = KvIndex(FOUR_SEGMENTS)
    empty = index.size_bytes
    index.stored("a", packed(*(number << 51 for number in range(1, 2000))))
    assert index.size_bytes > 18 * len(index)

    index.dropped("a")
    while index.clean():
        pass
    assert (len(index), index.size_bytes) == (0, empty)
