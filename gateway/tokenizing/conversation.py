"""A chat as its template wants it, out of the client's JSON, as the engines prepare it too. Pure.

Texts only: of an image the template makes a mark, for which the engine puts as many tokens as it finds right.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec

from matrixinfer.gateway.pipeline.body import Asked
from matrixinfer.gateway.tokenizing.errors import NotTokenized

T = TypeVar("T")

_ABSENT = frozenset({b"", b"null", b"false"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


class Conversation(NamedTuple):
    """The variables of a chat template; `more` are the client's `chat_template_kwargs`."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    documents: list[Any] | None
    add_generation_prompt: bool
    more: dict[str, Any]


def conversation(asked: Asked) -> Conversation:
    """Raises NotTokenized for what cannot be text, and for what the engine will refuse."""
    if bytes(asked.chat_template) not in _ABSENT or bytes(asked.continue_final_message) not in _ABSENT:
        raise NotTokenized("not_understood", "a template of the client's own, or a message to be continued")
    try:
        messages = [_message(msgspec.json.decode(raw, type=dict[str, Any])) for raw in asked.messages or ()]
        tools = _decoded(asked.tools, list[Any])
        documents = _decoded(asked.documents, list[Any])
        more = _decoded(asked.chat_template_kwargs, dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotTokenized("not_understood", str(error)) from error
    return Conversation(messages, tools, documents, bytes(asked.add_generation_prompt) != b"false", more or {})


def _decoded(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """None for what is absent, null or empty."""
    return msgspec.json.decode(raw, type=kind) or None if bytes(raw) not in _ABSENT else None


def _message(told: dict[str, Any]) -> dict[str, Any]:
    """Without what is null; its content one text; the arguments of its tools' calls as values."""
    message = {name: value for name, value in told.items() if value is not None}
    message["content"] = _text(message.get("content", ""))
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [_call(call) for call in calls]
    return message


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotTokenized("not_understood", "content is neither a text nor a list of parts")
    return "\n".join(map(_part, content))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind, text = (part.get("type"), part.get("text")) if isinstance(part, dict) else (None, None)
    if isinstance(kind, str) and kind in _TEXT_PARTS and isinstance(text, str):
        return text
    raise NotTokenized("media")


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments := function.get("arguments"), str):
        return call
    return call | {"function": function | {"arguments": msgspec.json.decode(arguments or "{}")}}
