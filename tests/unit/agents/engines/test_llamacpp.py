"""llama.cpp's engine as far as no model is needed: its bytes, its start's errors, the signals."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrixinfer.agents.engines.errors import StartFailed
from matrixinfer.agents.engines.llamacpp.relay import Relay, engine_body, failure_of
from matrixinfer.agents.engines.llamacpp.signals import kept
from matrixinfer.agents.engines.port import Job, Piece
from matrixinfer.agents.engines.registry import create
from matrixinfer.bus.contracts.frames import Failure, Usage

HEAD = '"id":"chatcmpl-7Sb3","model":"tiny"'
ROLE = (
    f'data: {{"choices":[{{"finish_reason":null,"delta":{{"role":"assistant","content":null}}}}],{HEAD}}}\n\n'.encode()
)
LAST = (
    f'data: {{"choices":[{{"finish_reason":"stop","delta":{{}}}}],{HEAD},'
    '"timings":{"cache_n":5,"prompt_n":3,"predicted_n":4}}\n\n'
).encode()
USAGE = (
    f'data: {{"choices":[],{HEAD},"usage":{{"prompt_tokens":9,"completion_tokens":4,'
    '"prompt_tokens_details":{"cached_tokens":6}}}\n\n'
).encode()
DONE = b"data: [DONE]\n\n"


def token(text: str) -> bytes:
    content = msgspec.json.encode(text).decode()
    return f'data: {{"choices":[{{"finish_reason":null,"delta":{{"content":{content}}}}}],{HEAD}}}\n\n'.encode()


def job(stream: bool = True, model: str = "tiny", body: bytes = b"{}") -> Job:
    return Job("r1", "chat.completions", model, stream, body)


def relayed(relay: Relay, *parts: bytes) -> list[Piece]:
    return [piece for part in parts if (piece := relay.feed(200, part)) is not None]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_a_stream_passes_under_the_jobs_id_in_whole_events_however_it_is_cut(size: int) -> None:
    stream = ROLE + token("a") + token("b") + token("c") + LAST + DONE
    pieces = relayed(Relay(job(), "tiny"), *(stream[i : i + size] for i in range(0, len(stream), size)))
    assert b"".join(piece.data for piece in pieces) == stream.replace(b"chatcmpl-7Sb3", b"chatcmpl-r1")
    assert all(piece.data.endswith(b"\n\n") for piece in pieces)
    assert [piece.final for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].usage == Usage(prompt_tokens=8, cached_tokens=5, output_tokens=4)
    assert sum(piece.tokens for piece in pieces) == 4


def test_the_usage_chunk_counts_when_there_is_one() -> None:
    pieces = relayed(Relay(job(), "tiny"), ROLE + token("a"), LAST + USAGE, DONE)
    assert pieces[-1].usage == Usage(prompt_tokens=9, cached_tokens=6, output_tokens=4)


def test_a_text_that_looks_like_our_marks_changes_nothing() -> None:
    tricky = token('"model":"tiny" "id":"chatcmpl-7Sb3" "finish_reason":null data: {"error": data: [DONE]\n\n')
    pieces = relayed(Relay(job(model="other"), "tiny"), ROLE, tricky)
    assert [piece.tokens for piece in pieces] == [0, 1]
    assert pieces[1].failure is None
    event = msgspec.json.decode(pieces[1].data.removeprefix(b"data: "))
    assert event["choices"][0]["delta"]["content"].startswith('"model":"tiny" "id":"chatcmpl-7Sb3"')
    assert (event["model"], event["id"]) == ("other", "chatcmpl-r1")


def test_an_error_in_the_stream_ends_it_as_a_failure() -> None:
    error = b'data: {"error":{"code":500,"message":"out of memory","type":"server_error"}}\n\n'
    pieces = relayed(Relay(job(), "tiny"), ROLE + token("a"), error)
    assert pieces[-1].final
    assert pieces[-1].failure is not None
    assert (pieces[-1].failure.status, pieces[-1].failure.message) == (500, "out of memory")


def test_a_stream_without_its_end_mark_is_a_failure() -> None:
    relay = Relay(job(), "tiny")
    relayed(relay, ROLE, token("a"))
    failure = relay.end(200).failure
    assert failure is not None
    assert failure.status == 502


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"message": "bad", "type": "invalid_request_error"}, (400, "invalid_request_error", "")),
        (
            400,
            {"message": "long", "type": "exceed_context_size_error"},
            (400, "invalid_request_error", "context_length_exceeded"),
        ),
        (500, {"message": "image input is not supported - hint: x"}, (400, "invalid_request_error", "")),
        (500, {"message": "Failed to parse tools: x", "type": "server_error"}, (400, "invalid_request_error", "")),
        (500, {"message": "the image broke", "type": "server_error"}, (500, "server_error", "engine_failed")),
        (501, {"message": "no", "type": "not_supported_error"}, (501, "server_error", "engine_failed")),
        (404, None, (500, "server_error", "engine_failed")),
    ],
)
def test_errors_are_told_in_openais_terms(status: int, body: Any, expected: tuple[int, str, str]) -> None:
    data = b"oops" if body is None else msgspec.json.encode({"error": {"code": status, **body}})
    failure = failure_of(status, data)
    assert (failure.status, failure.type, failure.code) == expected
    assert failure.message
    assert "hint" not in failure.message, "that is for whoever runs the server"


def test_the_body_is_untouched_unless_it_says_another_stream() -> None:
    agrees = b'{ "stream" : true, "x": 1.0 }'
    assert engine_body(job(body=agrees)) is agrees
    changed = engine_body(job(stream=False, body=agrees))
    assert isinstance(changed, bytes)
    assert msgspec.json.decode(changed) == {"stream": False, "x": 1.0}
    assert isinstance(engine_body(job(body=b"[1]")), Failure)


async def start(model_path: Path) -> None:
    engine = create("LlamaCpp", str(model_path), "tiny", {"log_verbosity": 0})
    try:
        await engine.start()
    finally:
        await engine.close()
        await engine.close()


async def test_a_missing_model_is_a_failed_start_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"none\.gguf: cannot be read .*No such file"):
        await start(tmp_path / "none.gguf")


async def test_a_file_of_another_format_is_a_failed_start_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(StartFailed, match="expected a GGUF file"):
        await start(tmp_path / "model.gguf")


async def test_a_damaged_model_is_a_failed_start(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(StartFailed, match=r"llama\.cpp did not start .*log_verbosity"):
        await start(tmp_path / "model.gguf")


def test_signal_handlers_survive_a_library_that_replaces_them() -> None:
    ignore = ctypes.c_void_p(1)  # SIG_IGN, set as a C library does: Python does not know of it
    calls: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(number))
    try:
        with kept(signal.SIGUSR1):
            ctypes.CDLL(None).signal(int(signal.SIGUSR1), ignore)
            signal.raise_signal(signal.SIGUSR1)
            assert calls == []
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert calls == [signal.SIGUSR1]
