"""The prefix law of block hashes: equal beginnings have equal hashes, and nothing else has."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.block_hashes import BLOCK_BYTES, BLOCK_TOKENS, HASH_BYTES, as_numbers, block_hashes
from support.naive_index import split

adapters = st.text(max_size=8)
blocks = st.lists(st.integers(0, 3), max_size=6)


def tokens_of(numbers: list[int]) -> list[int]:
    """Blocks that are equal where their numbers are."""
    return [token for number in numbers for token in [number, *range(BLOCK_TOKENS - 1)]]


def bytes_of(numbers: list[int]) -> bytes:
    return b"".join(bytes([number]) * BLOCK_BYTES for number in numbers)


@pytest.mark.parametrize("prompt_of", [tokens_of, bytes_of])
@settings(deadline=None)
@given(one=blocks, other=blocks, adapter=adapters)
def test_hashes_are_equal_just_as_far_as_the_prompts_are(prompt_of, one, other, adapter):
    hashes = split(block_hashes(prompt_of(one), adapter)), split(block_hashes(prompt_of(other), adapter))

    for at, (left, right) in enumerate(zip(*hashes, strict=False), start=1):
        assert (left == right) == (one[:at] == other[:at])
    assert (len(hashes[0]), len(hashes[1])) == (len(one), len(other))


@settings(deadline=None)
@given(blocks, adapters, adapters)
def test_another_adapter_changes_every_hash(numbers, one, other):
    left, right = (split(block_hashes(tokens_of(numbers), adapter)) for adapter in (one, other))

    assert [a == b for a, b in zip(left, right, strict=True)] == [one == other] * len(numbers)


@settings(deadline=None)
@given(blocks, blocks, adapters)
def test_a_chain_is_continued_after_its_last_hash(begun, more, adapter):
    whole = block_hashes(tokens_of(begun + more), adapter)
    first = block_hashes(tokens_of(begun), adapter)

    last = first[-HASH_BYTES:] if begun else b""
    assert whole == first + block_hashes(tokens_of(more), adapter if not begun else "", after=last)


@pytest.mark.parametrize(
    ("prompt", "hashed"),
    [
        ([], 0),
        ([1] * 255, 0),
        ([1] * 256, 1),
        ([1] * 511, 1),
        ((1,) * 512, 2),
        (b"", 0),
        (b"x" * 1023, 0),
        (b"x" * 2048, 2),
    ],
)
def test_only_whole_blocks_have_a_hash(prompt, hashed):
    assert len(block_hashes(prompt)) == hashed * HASH_BYTES


@pytest.mark.parametrize(("size", "count"), [(0, 0), (7, 0), (8, 1), (23, 2), (24, 3)])
def test_a_piece_of_a_hash_is_no_number(size, count):
    hashes = bytes(range(1, 25))[:size]
    assert [number.to_bytes(8, sys.byteorder) for number in as_numbers(hashes)] == split(hashes)[:count]


def test_blocks_of_bytes_are_no_blocks_of_tokens():
    tokens = [0x01010101] * BLOCK_TOKENS
    assert block_hashes(tokens) != block_hashes(b"\x01" * BLOCK_BYTES)


def test_the_hashes_are_the_same_on_every_machine_and_in_every_version():
    assert block_hashes(range(512), "lora").hex() == "75a52be3309585a73aa70ffaa5e39d07"
    assert block_hashes(bytes(range(256)) * 4).hex() == "373833472e4fe439"
