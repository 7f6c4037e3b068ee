"""What becomes of the bytes of llama.cpp: they pass as whole events, and only the last ones are read. Pure.

The one change: its own name of the answer (a random id) and of the model give way to the job's.

llama.cpp ends a stream with an event that has `timings` (and `usage`, if the client asked for it), so the usage is
known without asking. Quotes inside a JSON string are escaped, so the byte patterns below never match a text's content.
"""

from __future__ import annotations

import re

import msgspec

from matrixinfer.agents.engines import failures
from matrixinfer.agents.engines.one_answer import refusal
from matrixinfer.agents.engines.port import Job, Piece
from matrixinfer.bus.contracts.frames import Failure, Usage

_DONE = b"data: [DONE]\n\n"
_OPEN = b'"finish_reason":null'
_ROLE = b'"delta":{"role":'
_ERROR = b'data: {"error":'
_ID = re.compile(rb'"id":"chatcmpl-[^"]*"')  # also of a text completion; a tool call's id begins otherwise

_CLIENTS_MISTAKE = re.compile(r"\w+ input is not supported|Failed to parse (tools|messages)")
"""What llama.cpp reports as its own fault (500) though the request asks for what cannot be had."""

_HINT = " - hint:"
"""What follows is advice for whoever starts the server."""


class _CachedTokens(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _CachedTokens | None = None


class _Timings(msgspec.Struct):
    cache_n: int = 0
    prompt_n: int = 0
    predicted_n: int = 0


class _Error(msgspec.Struct):
    message: str = ""
    type: str = ""
    code: int = 0


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: _Error | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def engine_body(job: Job) -> bytes | Failure:
    """The body for the engine: the client's, unless it says another `stream` than the job does. A Failure for one that
    asks for several answers."""
    try:
        fields = _FIELDS.decode(job.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return failures.bad_request(f"expected the body to be a JSON object: {error}")
    if (failure := refusal(fields)) is not None:
        return failure
    stream = b"true" if job.stream else b"false"
    if bytes(fields.get("stream", b"false")) == stream:
        return job.body
    return msgspec.json.encode({**fields, "stream": msgspec.Raw(stream)})


class Relay:
    """The answer of one job. `feed` takes what comes with its status, `end` says that all came."""

    def __init__(self, job: Job, served_model: str) -> None:
        self.output_tokens = 0
        self._stream = job.stream
        self._id = _id_field(job)
        self._engines_id: bytes | None = None
        self._rename_model: tuple[bytes, bytes] | None = None
        if job.model != served_model:
            self._rename_model = (_model_field(served_model), _model_field(job.model))
        self._rest = b""
        self._whole: list[bytes] = []
        self._last_events = b""

    def feed(self, status: int, data: bytes) -> Piece | None:
        """The piece that is complete by now, if any."""
        if status != 200 or not self._stream:
            self._whole.append(data)
            return None
        data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._rest = data
            return None
        self._rest = data[end:]
        return self._events(data[:end])

    def end(self, status: int) -> Piece:
        """The final piece of an answer that had none so far."""
        data = b"".join(self._whole)
        if status != 200:
            return failures.final(failure_of(status, data))
        if self._stream:
            return failures.final(failures.engine_failed("the engine ended the stream before its end mark", 502))
        usage = _usage_of(data) or Usage()
        return Piece(self._renamed(data), tokens=usage.output_tokens, final=True, usage=usage)

    def _events(self, events: bytes) -> Piece:
        if _ERROR in events:
            return failures.final(_failure_in(events))
        if events.endswith(_DONE):
            return self._last_piece(events)
        tokens = events.count(_OPEN) - events.count(_ROLE)
        self.output_tokens += tokens
        self._last_events = events
        return Piece(self._renamed(events), tokens=tokens)

    def _last_piece(self, events: bytes) -> Piece:
        counted = self.output_tokens + events.count(_OPEN) - events.count(_ROLE)
        usage = Usage(output_tokens=counted)
        for event in reversed((self._last_events + events).split(b"\n\n")):
            found = _usage_of(event.removeprefix(b"data: "))
            if found is not None:
                usage = found
                break
        tokens = max(0, usage.output_tokens - self.output_tokens)
        self.output_tokens += tokens
        return Piece(self._renamed(events), tokens=tokens, final=True, usage=usage)

    def _renamed(self, data: bytes) -> bytes:
        if self._rename_model is not None:
            data = data.replace(*self._rename_model)
        if self._engines_id is None:  # all events of an answer have the same
            found = _ID.search(data)
            if found is None:
                return data
            self._engines_id = found[0]
        return data.replace(self._engines_id, self._id)


def failure_of(status: int, data: bytes) -> Failure:
    """llama.cpp's error body in OpenAI's terms."""
    answer = _decoded(data)
    error = answer.error if answer is not None else None
    if error is None:
        return failures.engine_failed(f"the engine answered with status {status} and no reason", max(status, 500))
    if error.type == "exceed_context_size_error":
        return failures.bad_request(error.message, code="context_length_exceeded")
    if _CLIENTS_MISTAKE.match(error.message):
        return failures.bad_request(error.message.partition(_HINT)[0])
    if 400 <= status < 500:
        return Failure(status=status, message=error.message, type=error.type or "invalid_request_error")
    return failures.engine_failed(error.message, status)


def _failure_in(events: bytes) -> Failure:
    event = events[events.index(_ERROR) :].split(b"\n\n", 1)[0].removeprefix(b"data: ")
    answer = _decoded(event)
    status = answer.error.code if answer is not None and answer.error is not None else 500
    return failure_of(status if 400 <= status < 600 else 500, event)


def _usage_of(data: bytes) -> Usage | None:
    answer = _decoded(data) if data.startswith(b"{") else None
    if answer is None:
        return None
    if answer.usage is not None:
        details = answer.usage.prompt_tokens_details
        cached_tokens = details.cached_tokens if details is not None else 0
        return Usage(answer.usage.prompt_tokens, cached_tokens, answer.usage.completion_tokens)
    if answer.timings is not None:
        timings = answer.timings
        return Usage(timings.cache_n + timings.prompt_n, timings.cache_n, timings.predicted_n)
    return None


def _decoded(data: bytes) -> _Answer | None:
    try:
        return _ANSWER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _id_field(job: Job) -> bytes:
    kind = "chatcmpl" if job.endpoint == "chat.completions" else "cmpl"
    return b'"id":' + msgspec.json.encode(f"{kind}-{job.rid}")


def _model_field(name: str) -> bytes:
    return b'"model":' + msgspec.json.encode(name)
