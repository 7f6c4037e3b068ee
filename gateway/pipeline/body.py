"""What is asked: the few fields that the gateway needs, read once. The bytes themselves travel on untouched."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.gateway.errors import BadRequest

_FIELD = re.compile(r"`\$\.(\w+)")

MOST_OUTPUT_TOKENS = 2**31 - 1
"""Far above every model; what is larger does not fit into the engines' counters."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """Fields that are not here are the engine's to judge, and so are those that stay as they came (`Raw`; empty where
    they are absent): the last six are for a chat template."""

    model: str = ""
    messages: list[msgspec.Raw] | None = None
    prompt: msgspec.Raw = msgspec.Raw()
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream_options: dict[str, Any] | None = None
    user: str | None = None
    tools: msgspec.Raw = msgspec.Raw()
    documents: msgspec.Raw = msgspec.Raw()
    chat_template: msgspec.Raw = msgspec.Raw()
    chat_template_kwargs: msgspec.Raw = msgspec.Raw()
    add_generation_prompt: msgspec.Raw = msgspec.Raw()
    continue_final_message: msgspec.Raw = msgspec.Raw()

    @property
    def output_bound(self) -> int:
        """The most output tokens the client wants; 0 when it does not say."""
        return self.max_completion_tokens or self.max_tokens or 0


_decode = msgspec.json.Decoder(Asked).decode


def read(body: bytes, endpoint: Endpoint) -> Asked:
    """Raises BadRequest that tells the position of a syntax error, or the field."""
    try:
        asked = _decode(body)
    except msgspec.ValidationError as error:
        field = _FIELD.search(str(error))
        raise BadRequest(f"the request body is not valid: {error}", param=field[1] if field else "") from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"the request body is not JSON: {error}", code="invalid_json") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"the request body is not UTF-8: {error.reason}", code="invalid_json") from error
    except RecursionError as error:
        raise BadRequest("the request body is nested too deeply", code="invalid_json") from error
    _check(asked, endpoint)
    return asked


def _check(asked: Asked, endpoint: Endpoint) -> None:
    if not asked.model:
        raise BadRequest("you must provide a `model`, one of those that /v1/models lists", param="model")
    if endpoint == "chat.completions" and not asked.messages:
        raise BadRequest("`messages` must be an array with at least one message", param="messages")
    if endpoint == "completions" and not _is_text_or_array(asked.prompt):
        raise BadRequest("`prompt` must be a string or an array", param="prompt")
    if not 0 <= asked.output_bound <= MOST_OUTPUT_TOKENS:
        param = "max_completion_tokens" if asked.max_completion_tokens else "max_tokens"
        raise BadRequest(f"`{param}` must be positive and {MOST_OUTPUT_TOKENS} at most", param=param)


def with_model(body: bytes, model: str) -> bytes:
    """The same body with another model's name; every other field keeps its bytes."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


def _is_text_or_array(value: msgspec.Raw) -> bool:
    """By its first byte: a prompt may be long, and the engine reads it anyway."""
    first = bytes(memoryview(value)[:1])
    return first in (b'"', b"[")
