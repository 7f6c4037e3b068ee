"""How the simulated engine reads a body: OpenAI's fields that it honours, and the prompt as tokens and chained blocks.

There is no tokenizer: four bytes of UTF-8 are one token, rounded up; a prompt given as token ids has as many tokens.
Fields that are not known are ignored; a known field with a wrong type or value is the client's mistake. Pure.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from matrixinfer.agents.engines.failures import bad_request
from matrixinfer.agents.engines.one_answer import several
from matrixinfer.bus.block_hashes import BLOCK_TOKENS, HASH_BYTES
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.frames import Failure

BYTES_PER_TOKEN = 4

_PATH = re.compile(r"`\$\.?([^`]*)`$")


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _ContentPart(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_ContentPart] | None = None


class _Body(msgspec.Struct, gc=False):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    ignore_eos: bool | None = None
    stream_options: _StreamOptions | None = None


class _ChatBody(_Body, gc=False):
    messages: list[_Message] = []


class _CompletionBody(_Body, gc=False):
    prompt: str | list[str | int | list[int]] = ""


_CHAT = msgspec.json.Decoder(_ChatBody)
_COMPLETION = msgspec.json.Decoder(_CompletionBody)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a body asks for. `output_tokens` is None when it leaves the length to the model."""

    prompt_tokens: int
    output_tokens: int | None
    blocks: tuple[bytes, ...]
    digest: int
    include_usage: bool
    ignore_eos: bool


def read(endpoint: Endpoint, body: bytes, block_tokens: int) -> Prompt | Failure:
    """The prompt in a body; a Failure (400) that names the parameter when it cannot be used."""
    try:
        decoded = _CHAT.decode(body) if endpoint == "chat.completions" else _COMPLETION.decode(body)
    except msgspec.ValidationError as error:
        return _wrong_type(error)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return bad_request(f"the body is not JSON: {error}")
    if (failure := _wrong_value(decoded)) is not None:
        return failure
    text = _chat_text(decoded) if isinstance(decoded, _ChatBody) else _completion_text(decoded)
    return text if isinstance(text, Failure) else _prompt(decoded, text, block_tokens)


def _wrong_type(error: msgspec.ValidationError) -> Failure:
    """msgspec's message ends with the path of the field: "Expected `int`, got `str` - at `$.max_tokens`"."""
    message = str(error)
    path = _PATH.search(message)
    return bad_request(message, param=path.group(1) if path else "")


def _wrong_value(body: _Body) -> Failure | None:
    for name, answers in (("n", body.n), ("best_of", body.best_of)):
        if answers not in (None, 1):
            return several(name, answers)
    for name, value in (("max_tokens", body.max_tokens), ("max_completion_tokens", body.max_completion_tokens)):
        if value is not None and value < 1:
            return bad_request(f"expected {name} to be at least 1, got {value}", param=name)
    return None


def _chat_text(body: _ChatBody) -> bytes | Failure:
    """Each message ends with a line of its own, so that a longer conversation begins with the shorter one's bytes."""
    if not body.messages:
        return bad_request("expected messages: a list with at least one message", param="messages")
    parts: list[str] = []
    for message in body.messages:
        content = message.content
        if isinstance(content, list):
            content = "".join(part.text for part in content)
        parts.append(f"{message.role}\n{content or ''}\n")
    return "".join(parts).encode()


def _completion_text(body: Any) -> bytes | Failure:
    prompt = body.prompt
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if not prompt:
        return bad_request("expected prompt: a text or a list of token ids, not empty", param="prompt")
    if isinstance(prompt, str):
        return prompt.encode()
    if not all(isinstance(token, int) for token in prompt):
        return bad_request("expected prompt to be one text or one list of token ids", param="prompt")
    if not all(0 <= token < 1 << 32 for token in prompt):
        return bad_request("expected prompt's token ids to be from 0 to 4294967295", param="prompt")
    return b"".join(token.to_bytes(BYTES_PER_TOKEN, "big") for token in prompt)


def _prompt(body: _Body, text: bytes, block_tokens: int) -> Prompt:
    blocks = chained_blocks(text, block_tokens)
    end = hashlib.blake2b(text[len(blocks) * block_tokens * BYTES_PER_TOKEN :], digest_size=8)
    if blocks:
        end.update(blocks[-1])
    limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    return Prompt(
        prompt_tokens=max(1, -(-len(text) // BYTES_PER_TOKEN)),
        output_tokens=limit,
        blocks=blocks,
        digest=int.from_bytes(end.digest(), "big"),
        include_usage=body.stream_options is not None and body.stream_options.include_usage is True,
        ignore_eos=body.ignore_eos is True,
    )


def named_by_others(prompt: Prompt, block_hashes: bytes, prompt_tokens: int = 0) -> Prompt:
    """The same prompt, in blocks as the envelope names them (8 bytes each), and as long as a tokenizer found it
    (`prompt_tokens`; 0: nobody counted). Without one the gateway counts the bytes around the text as well, so it may
    know of blocks that begin beyond the end of this prompt: these are left out."""
    length = prompt_tokens or prompt.prompt_tokens
    count = min(len(block_hashes) // HASH_BYTES, length // BLOCK_TOKENS)
    ends = range(HASH_BYTES, (count + 1) * HASH_BYTES, HASH_BYTES)
    blocks = tuple(block_hashes[end - HASH_BYTES : end] for end in ends)
    return replace(prompt, blocks=blocks, prompt_tokens=length)


def chained_blocks(text: bytes, block_tokens: int) -> tuple[bytes, ...]:
    """A hash for each whole block; it covers all of the text up to that block's end."""
    size = block_tokens * BYTES_PER_TOKEN
    blocks: list[bytes] = []
    parent = b""
    for start in range(0, len(text) - size + 1, size):
        parent = hashlib.blake2b(text[start : start + size], digest_size=8, key=parent).digest()
        blocks.append(parent)
    return tuple(blocks)
