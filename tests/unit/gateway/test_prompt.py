"""What dispatch is told of a prompt: a longer conversation begins with the blocks of the shorter one."""

from __future__ import annotations

import base64
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.block_hashes import HASH_BYTES
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.gateway.pipeline import body
from matrixinfer.gateway.pipeline.embedded import SHORTEST_BYTES, Embedded, embedded
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


@pytest.mark.parametrize(("content", "tokens"), [("", 7), ("word " * 800, 1007)])
def test_the_length_is_about_a_quarter_of_the_bytes(content: str, tokens: int):
    assert measured(messages=[{"role": "user", "content": content}]).tokens == tokens


def test_a_short_prompt_has_a_length_and_no_block():
    assert measured("completions", prompt="") == Prompt(1, b"")


IMAGE = base64.b64encode(Random(1).randbytes(750_000)).decode()


def saying(*parts: dict[str, object]) -> list[dict[str, object]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "what is it? " * 300}]}]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        {"type": "input_audio", "input_audio": {"data": IMAGE, "format": "wav"}},
        {"type": "file", "file": {"file_data": base64.encodebytes(IMAGE.encode()).decode()}},
        {"type": "image_url", "image_url": {"url": IMAGE.replace("+", "-").replace("/", "_")}},
    ],
    ids=["an image", "sound", "a file in lines", "the alphabet for addresses"],
)
def test_a_piece_of_media_counts_as_about_a_thousand_tokens_however_many_its_bytes(part: dict[str, object]):
    one, two = (measured(messages=saying(*[part] * count)) for count in (1, 2))
    assert 1900 <= one.tokens <= 2000
    assert 1000 <= two.tokens - one.tokens <= 1050
    assert len(one.block_hashes) > 900 * HASH_BYTES, "the blocks are of the real bytes"


def test_escaped_slashes_break_no_piece():
    asked = body.read(json.dumps({"model": "m", "prompt": IMAGE}).replace("/", "\\/").encode(), "completions")
    assert measure(asked, "").tokens == 1000


def test_text_of_any_language_counts_by_its_bytes():
    chinese = "\u4e2d\u6587" * 5000  # as `\\uXXXX` by many clients: 60,000 bytes without a blank
    assert measured(messages=[{"role": "user", "content": chinese}]).tokens == 15_007


@given(st.integers(0, 3 * SHORTEST_BYTES), st.integers(0, 3 * SHORTEST_BYTES), st.integers(0, 3 * SHORTEST_BYTES))
def test_a_run_is_found_wherever_it_begins_and_just_when_it_is_long(before: int, length: int, after: int):
    text = (b"a word " * before)[:before] + b"." + b"Zz+/" * (length // 4) + b"." + (b" tail," * after)[:after]
    found = length // 4 * 4
    assert embedded(text) == (Embedded(1, found) if found >= SHORTEST_BYTES else Embedded(0, 0))
