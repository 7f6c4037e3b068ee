"""The approximate index assumes what an engine with an LRU cache would have."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.cache_index.approximate import ApproximateIndex
from support.naive_index import NaiveIndex, split

PODS = ["a", "b", "c"]
BLOCKS = [bytes([number]) * 8 for number in range(1, 13)]

prompts = st.lists(st.sampled_from(BLOCKS), max_size=8, unique=True).map(b"".join)
records = st.tuples(st.just("record"), st.sampled_from(PODS), prompts)
drops = st.tuples(st.just("dropped"), st.sampled_from(PODS))


class NaiveMemories:
    """For each pod an LRU cache; a prompt's first blocks are the youngest."""

    def __init__(self, capacity_blocks: int) -> None:
        self.capacity_blocks = capacity_blocks
        self.pods: dict[str, OrderedDict[bytes, None]] = {}

    def record(self, pod: str, hashes: bytes) -> None:
        memory = self.pods.setdefault(pod, OrderedDict())
        for block in reversed(split(hashes)):
            memory.pop(block, None)
            memory[block] = None
        while len(memory) > self.capacity_blocks:
            memory.popitem(last=False)

    def dropped(self, pod: str) -> None:
        self.pods.pop(pod, None)

    def matches(self, hashes: bytes) -> dict[str, float]:
        index = NaiveIndex()
        for pod, memory in self.pods.items():
            index.stored(pod, b"".join(memory))
        return index.matches(hashes)


@settings(deadline=None)
@given(st.lists(st.one_of(records, records, drops), max_size=40), st.integers(1, 10), prompts)
def test_it_says_what_bounded_lru_caches_have(history, capacity_blocks, question):
    index, naive = ApproximateIndex(capacity_blocks), NaiveMemories(capacity_blocks)
    for what, *arguments in history:
        getattr(naive, what)(*arguments)
        getattr(index, what)(*arguments, *([0.0] if what == "record" else []))

    assert index.matches(question) == pytest.approx(naive.matches(question))
    assert len(index) == len({block for memory in naive.pods.values() for block in memory})


def test_a_prompt_larger_than_the_cache_keeps_its_beginning():
    index = ApproximateIndex(capacity_blocks=2)
    index.record("a", b"".join(BLOCKS[:5]), 0.0)

    assert index.matches(b"".join(BLOCKS[:5])) == {"a": 512}
    assert len(index) == 2


def test_a_pod_has_the_capacity_that_was_told_of_it():
    index = ApproximateIndex(capacity_blocks=2)
    index.resize("large", 4)
    for pod in ("small", "large"):
        index.record(pod, b"".join(BLOCKS[:5]), 0.0)
    assert index.matches(b"".join(BLOCKS[:5])) == {"small": 512, "large": 1024}

    index.resize("large", 1)
    assert index.matches(b"".join(BLOCKS[:5])) == {"small": 512, "large": 256}


def test_what_was_not_used_for_long_is_forgotten():
    index = ApproximateIndex(keep_s=60.0)
    index.record("a", BLOCKS[0] + BLOCKS[1], 0.0)
    index.record("a", BLOCKS[0], 50.0)
    index.record("b", BLOCKS[0], 0.0)
    index.sweep(61.0)

    assert index.matches(BLOCKS[0] + BLOCKS[1]) == {"a": 256}
    assert index.matches(BLOCKS[1]) == {}


def test_a_successor_with_the_bit_of_a_dropped_pod_has_nothing_of_it():
    index = ApproximateIndex()
    index.record("old", BLOCKS[0], 0.0)
    index.dropped("old")
    index.record("new", BLOCKS[1], 0.0)

    assert index.matches(BLOCKS[0]) == {}
    assert index.matches(BLOCKS[1]) == {"new": 256}
