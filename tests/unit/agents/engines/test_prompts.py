"""How the simulated engine reads bodies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from matrixinfer.agents.engines.simulated.prompts import Prompt, named_by_others, read
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.frames import Failure

HELLO = [{"role": "user", "content": "hello"}]


def prompt_of(endpoint: Endpoint, **body: Any) -> Prompt:
    prompt = read(endpoint, msgspec.json.encode(body), 4)
    assert isinstance(prompt, Prompt), prompt
    return prompt


def failure_of(endpoint: Endpoint, **body: Any) -> Failure:
    failure = read(endpoint, msgspec.json.encode(body), 4)
    assert isinstance(failure, Failure), failure
    return failure


def test_four_bytes_are_a_token_rounded_up() -> None:
    assert prompt_of("completions", prompt="12345").prompt_tokens == 2
    assert prompt_of("completions", prompt="é" * 4).prompt_tokens == 2


def test_token_ids_are_counted() -> None:
    assert prompt_of("completions", prompt=[5, 6, 7]).prompt_tokens == 3
    assert prompt_of("completions", prompt=[[5, 6]]).prompt_tokens == 2


def test_a_longer_conversation_begins_with_the_blocks_of_the_shorter() -> None:
    turn = [{"role": "user", "content": "tell me something long about the sea"}]
    more = [*turn, {"role": "assistant", "content": [{"type": "text", "text": "it is wide"}]}]
    short, long = prompt_of("chat.completions", messages=turn), prompt_of("chat.completions", messages=more)
    assert short.blocks
    assert long.blocks[: len(short.blocks)] == short.blocks
    assert len(long.blocks) > len(short.blocks)


def test_fields_that_are_not_known_are_ignored() -> None:
    assert prompt_of("chat.completions", messages=HELLO, logit_bias={"1": 2}, anything=[1]).output_tokens is None


def test_the_newer_name_of_the_limit_wins() -> None:
    assert prompt_of("chat.completions", messages=HELLO, max_tokens=5, max_completion_tokens=7).output_tokens == 7


def test_the_digest_tells_prompts_apart_beyond_the_last_whole_block() -> None:
    digests = {prompt_of("completions", prompt=text).digest for text in ("a" * 20, "a" * 21, "b" * 20, "b")}
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": HELLO, "max_tokens": "5"}, "max_tokens"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"messages": HELLO, "n": 2}, "n"),
        ({"messages": HELLO, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0]"),
        ({}, "messages"),
    ],
)
def test_a_bad_chat_field_is_named(body: dict[str, Any], param: str) -> None:
    failure = failure_of("chat.completions", **body)
    assert (failure.status, failure.type, failure.param) == (400, "invalid_request_error", param)


@pytest.mark.parametrize("prompt", ["", [], ["one", "two"], [1, "two"], [-1], [[1], [2]], 7])
def test_a_bad_prompt_is_named(prompt: Any) -> None:
    assert failure_of("completions", prompt=prompt).param == "prompt"


def test_the_names_that_the_envelope_brings_replace_its_own_as_far_as_the_prompt_goes() -> None:
    prompt = prompt_of("completions", prompt="x" * 4 * 600)
    names = [bytes([number] * 8) for number in range(3)]
    assert named_by_others(prompt, b"".join(names)).blocks == tuple(names[:2])
    assert named_by_others(prompt, names[0]).blocks == (names[0],)


def test_where_the_gateway_has_the_tokenizer_the_prompt_is_as_long_as_it_says() -> None:
    prompt = prompt_of("completions", prompt="x" * 4 * 600)
    names = [bytes([number] * 8) for number in range(3)]
    longer = named_by_others(prompt, b"".join(names), 800)
    assert (longer.prompt_tokens, longer.blocks) == (800, tuple(names))
    shorter = named_by_others(prompt, b"", 17)
    assert (shorter.prompt_tokens, shorter.blocks) == (17, ())
