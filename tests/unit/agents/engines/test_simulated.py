"""The simulated engine on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from matrixinfer.agents.engines.port import Job, Piece
from matrixinfer.agents.engines.simulated.batching import BatchingModel
from matrixinfer.agents.engines.simulated.engine import SimulatedEngine
from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
from matrixinfer.bus.clock import ManualClock

STEADY = {
    "prefill_tokens_per_s": 100.0,
    "decode_step_s": 1.0,
    "decode_step_per_request_s": 0.0,
    "decode_step_per_context_token_s": 0.0,
}


def engine_of(clock: ManualClock, **config: Any) -> SimulatedEngine:
    return SimulatedEngine(SimulatedConfig(**{**STEADY, **config}), "m", clock)


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def engine(clock: ManualClock) -> AsyncIterator[SimulatedEngine]:
    engine = engine_of(clock)
    await engine.start()
    yield engine
    await engine.close()


def job(rid: str = "r1", text: str = "x" * 400, *, stream: bool = True, **body: Any) -> Job:
    return Job(rid, "completions", "m", stream, msgspec.json.encode({"prompt": text, "max_tokens": 3, **body}))


def text_of(pieces: list[Piece]) -> str:
    events = b"".join(piece.data for piece in pieces).split(b"\n\n")[:-2]
    return "".join(msgspec.json.decode(event.removeprefix(b"data: "))["choices"][0]["text"] for event in events)


async def test_tokens_come_at_the_times_that_the_cost_model_says(clock: ManualClock, engine: SimulatedEngine) -> None:
    begun = clock.monotonic()
    times: list[float] = []
    engine.generate(job(), lambda piece: times.append(clock.monotonic() - begun))
    await clock.advance(10)
    assert times == pytest.approx([1.0, 2.0, 3.0])  # 100 tokens of prefill, then a second a step


async def test_the_start_takes_its_time(clock: ManualClock) -> None:
    engine = engine_of(clock, time_to_load_s=5.0)
    pieces: list[Piece] = []
    engine.generate(job(), pieces.append)
    await clock.advance(0)
    assert pieces[0].failure is not None
    assert pieces[0].failure.status == 503
    await engine.close()


async def test_the_same_seed_and_prompt_make_the_same_words_and_another_seed_others(clock: ManualClock) -> None:
    texts = []
    for seed in (1, 1, 2):
        engine = engine_of(clock, seed=seed)
        await engine.start()
        pieces: list[Piece] = []
        engine.generate(job(max_tokens=20), pieces.append)
        await clock.advance(60)
        await engine.close()
        texts.append(text_of(pieces))
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0].split()) == 20


@pytest.mark.parametrize(
    ("body", "tokens", "reason"),
    [
        ({"max_tokens": None}, 16, "stop"),
        ({"max_tokens": None, "ignore_eos": True}, 16, "length"),
        ({"max_tokens": 5}, 5, "length"),
    ],
)
async def test_an_answer_ends_by_itself_or_by_the_limit(
    clock: ManualClock, engine: SimulatedEngine, body: dict[str, Any], tokens: int, reason: str
) -> None:
    pieces: list[Piece] = []
    engine.generate(job(stream=False, **body), pieces.append)
    await clock.advance(60)
    whole = msgspec.json.decode(pieces[-1].data)
    assert whole["choices"][0]["finish_reason"] == reason
    assert whole["usage"]["completion_tokens"] == tokens


async def test_all_pieces_of_a_step_leave_together(clock: ManualClock, engine: SimulatedEngine) -> None:
    seen: list[tuple[float, str]] = []
    for rid in ("a", "b", "c"):
        engine.generate(job(rid, text="xxxx"), lambda piece, rid=rid: seen.append((clock.monotonic(), rid)))  # type: ignore[misc]
    await clock.advance(20)
    last_steps = [rid for time, rid in seen if time == seen[-1][0]]
    assert len({time for time, _ in seen}) <= 4
    assert len(last_steps) >= 2


async def test_an_emit_may_abort_another_job_of_the_same_step(clock: ManualClock, engine: SimulatedEngine) -> None:
    pieces: dict[str, list[Piece]] = {"a": [], "b": []}

    def emit(rid: str, other: str) -> Any:
        def on_piece(piece: Piece) -> None:
            pieces[rid].append(piece)
            engine.abort(other)

        return on_piece

    engine.generate(job("first", text="xxxx", max_tokens=1), lambda piece: None)  # has the first step for itself
    engine.generate(job("a", text="xxxx", max_tokens=1), emit("a", "b"))
    engine.generate(job("b", text="xxxx", max_tokens=1), emit("b", "a"))
    await clock.advance(20)
    assert [piece.final for each in pieces.values() for piece in each].count(True) == 2
    assert [len(each) for each in pieces.values()] == [1, 1]
    assert pieces["b"][0].failure is not None
    assert pieces["b"][0].failure.code == "cancelled"
    assert engine.load().kv_usage == 0


async def test_a_broken_core_ends_its_jobs_is_logged_and_the_engine_goes_on(
    clock: ManualClock, engine: SimulatedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: BatchingModel, now: float) -> Any:
        raise ZeroDivisionError("a defect")

    pieces: list[Piece] = []
    with monkeypatch.context() as patch:
        patch.setattr(BatchingModel, "advance", broken)
        engine.generate(job(), pieces.append)
        await clock.advance(5)
    assert pieces[-1].failure is not None
    assert (pieces[-1].failure.status, pieces[-1].failure.code) == (500, "engine_failed")
    assert "ZeroDivisionError" in caplog.text
    engine.generate(job("r2"), pieces.append)
    await clock.advance(10)
    assert pieces[-1].usage is not None
