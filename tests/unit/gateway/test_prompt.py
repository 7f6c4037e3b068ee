"""What dispatch is told of a prompt: a longer conversation begins with the blocks of the shorter one."""

from __future__ import annotations

import json

import pytest

from matrixinfer.bus.block_hashes import HASH_BYTES
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.gateway.pipeline import body
from matrixinfer.gateway.pipeline.prompt import Prompt, measure

FIRST = [{"role": "system", "content": "x" * 3000}, {"role": "user", "content": "y" * 2000}]


def measured(endpoint: Endpoint = "chat.completions", adapter: str = "", **fields: object) -> Prompt:
    asked = body.read(json.dumps({"model": "m", **fields}).encode(), endpoint)
    return measure(asked, adapter)


def test_a_longer_conversation_begins_with_the_blocks_of_the_shorter_one():
    short = measured(messages=FIRST)
    long = measured(messages=[*FIRST, {"role": "assistant", "content": "z" * 2000}])
    assert len(short.block_hashes) == 4 * HASH_BYTES
    assert long.block_hashes.startswith(short.block_hashes)
    assert len(long.block_hashes) == 6 * HASH_BYTES


def test_another_beginning_shares_no_block():
    other = measured(messages=[{"role": "system", "content": "w" * 3000}, FIRST[1]])
    assert other.block_hashes[:HASH_BYTES] != measured(messages=FIRST).block_hashes[:HASH_BYTES]


def test_a_longer_text_begins_with_the_blocks_of_the_shorter_one():
    short, long = (measured("completions", prompt="a" * length) for length in (2100, 4200))
    assert long.block_hashes.startswith(short.block_hashes)
    assert len(short.block_hashes) == 2 * HASH_BYTES


def test_an_adapter_has_blocks_of_its_own():
    assert measured(messages=FIRST).block_hashes != measured(messages=FIRST, adapter="lora").block_hashes


@pytest.mark.parametrize(("content", "tokens"), [("", 7), ("x" * 4000, 1007)])
def test_the_length_is_about_a_quarter_of_the_bytes(content: str, tokens: int):
    assert measured(messages=[{"role": "user", "content": content}]).tokens == tokens


def test_a_short_prompt_has_a_length_and_no_block():
    assert measured("completions", prompt="") == Prompt(1, b"")
