"""The bytes of an answer: OpenAI's JSON, with everything that does not change from token to token made beforehand.

The words are chosen by seed and prompt, so an answer can be foretold. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.frames import Usage

_TEXT = (
    "time river stone light paper cloud green seven garden music window silver quiet north apple bridge "
    "copper dream early field glass harbor island jungle kitchen ladder marble number ocean pencil question rain "
    "summer table under valley winter yellow zebra animal butter castle dinner engine forest guitar hammer insect "
    "jacket kettle lemon mirror needle orange planet quarter rocket shadow tunnel urban violet wagon yard zenith"
)

_PIECES = [f" {word}".encode() for word in _TEXT.split(" ")]
_COUNT = len(_PIECES)
_DONE = b"data: [DONE]\n\n"
_SEED_STEP = 0x9E3779B97F4A7C15


class Answer:
    """What one request answers, token by token. Made once for a request; `chunk` runs for every token of a stream."""

    __slots__ = ("_chat", "_finish", "_first", "_head", "_prefix", "_step", "_suffix", "_usage_head")

    def __init__(
        self, rid: str, endpoint: Endpoint, model: str, *, created: int, digest: int, seed: int, finish: str
    ) -> None:
        mixed = (digest ^ (seed * _SEED_STEP)) & 0xFFFFFFFFFFFFFFFF
        self._first = mixed & 0xFFFF
        self._step = (mixed >> 16) | 1  # odd, and the words are 64: all come before one comes again
        self._chat = endpoint == "chat.completions"
        self._finish = finish
        kind = "chat.completion" if self._chat else "text_completion"
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{rid}" if self._chat else f"cmpl-{rid}",
            "object": kind,
            "created": created,
            "model": model,
        }
        self._prefix = self._suffix = self._usage_head = b""

    def begin_stream(self) -> None:
        """Prepare for `chunk` and `last_chunk`."""
        if self._chat:
            self._head["object"] = "chat.completion.chunk"
        event = b"data: " + msgspec.json.encode(self._head)[:-1] + b',"choices":['
        self._usage_head = event
        self._prefix = event + (b'{"index":0,"delta":{"content":"' if self._chat else b'{"index":0,"text":"')
        self._suffix = b'"},"logprobs":null,"finish_reason":null}]}\n\n'
        if not self._chat:
            self._suffix = self._suffix.replace(b"}", b"", 1)

    def chunk(self, number: int) -> bytes:
        """The event of token `number` (from 0)."""
        return b"".join((self._prefix, _PIECES[(self._first + number * self._step) % _COUNT], self._suffix))

    def role_chunk(self) -> bytes:
        """A chat stream's first event; completions have none."""
        if not self._chat:
            return b""
        return self._usage_head + (
            b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'
        )

    def end_of_stream(self, usage: Usage, include_usage: bool) -> bytes:
        """The event with the reason, the usage if the client asked for it, and the end's mark."""
        delta = b'"delta":{}' if self._chat else b'"text":""'
        reason = b"%b{%b,%b}]}\n\n" % (
            self._usage_head,
            b'"index":0,' + delta,
            b'"logprobs":null,"finish_reason":"%b"' % self._finish.encode(),
        )
        if not include_usage:
            return reason + _DONE
        return b"".join((reason, self._usage_head, b'],"usage":', msgspec.json.encode(_usage(usage)), b"}\n\n", _DONE))

    def whole(self, usage: Usage, **more: Any) -> bytes:
        """The answer in one, with `more` fields."""
        text = b"".join(_PIECES[(self._first + i * self._step) % _COUNT] for i in range(usage.output_tokens)).decode()
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": self._finish}
        if self._chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        return msgspec.json.encode({**self._head, "choices": [choice], "usage": _usage(usage), **more})


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
