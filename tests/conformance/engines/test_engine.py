"""The engine port's promises, held by every engine: the simulated one, and llama.cpp with a real small model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from matrixinfer.agents.engines.errors import StartFailed
from matrixinfer.agents.engines.port import Engine, Job, Piece
from matrixinfer.agents.engines.registry import create
from matrixinfer.bus.contracts.envelope import Endpoint
from support.engine_answer import Answer
from support.eventually import eventually
from support.smollm2 import smollm2

MODEL = "tiny"
SLOTS = 2
PATIENCE_S = 40.0
ENDLESS_TOKENS = 900
MakeEngine = Callable[[], Awaitable[Engine]]


async def make_simulated(mode: str) -> Engine:
    config = {"slots": SLOTS, "decode_step_s": 0.002, "kv_capacity_tokens": 4096, "block_tokens": 4}
    return create("Simulated", "", MODEL, {**config, "disaggregation": mode})


async def make_llamacpp() -> Engine:
    model_path = await smollm2()
    config = {"slots": SLOTS, "context_tokens": 1024, "chat_template": "chatml", "log_verbosity": 0}
    return create("LlamaCpp", str(model_path), MODEL, config)


@pytest.fixture(
    params=[
        *[pytest.param(partial(make_simulated, m), id=f"simulated-{m}") for m in ("none", "prefill", "decode")],
        pytest.param(make_llamacpp, id="llamacpp", marks=[pytest.mark.real, pytest.mark.timeout(300)]),
    ]
)
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    make: MakeEngine = request.param
    return make


@pytest.fixture
async def engine(make_engine: MakeEngine) -> AsyncIterator[Engine]:
    engine = await make_engine()
    await engine.start()
    yield engine
    await engine.close()


def job(
    rid: str = "r1", endpoint: Endpoint = "chat.completions", *, stream: bool = True, model: str = MODEL, **body: Any
) -> Job:
    prompt: dict[str, Any] = {"prompt": "Once upon a time"}
    if endpoint == "chat.completions":
        prompt = {"messages": [{"role": "user", "content": "Count from one to a thousand."}]}
    fields = {"model": MODEL, **prompt, "max_tokens": 6, "temperature": 0, "ignore_eos": True, "stream": stream, **body}
    return Job(rid=rid, endpoint=endpoint, model=model, stream=stream, body=msgspec.json.encode(fields))


def begin(engine: Engine, what: Job) -> Answer:
    answer = Answer()
    engine.generate(what, answer.emit)
    assert answer.pieces == [], "nothing may be emitted inside generate"
    return answer


async def finished(answer: Answer) -> Answer:
    await eventually(lambda: answer.is_final, timeout_s=PATIENCE_S)
    return answer


async def run(engine: Engine, what: Job) -> Answer:
    return await finished(begin(engine, what))


async def test_start_says_what_was_started(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    info = await engine.start()
    await engine.close()
    assert (info.model, info.slots) == (MODEL, SLOTS)
    assert info.kv_capacity_tokens > 0


async def test_a_streamed_chat_is_openai_chunks_with_one_final_piece(engine: Engine) -> None:
    answer = await run(engine, job())
    assert [piece.final for piece in answer.pieces] == [False] * (len(answer.pieces) - 1) + [True]
    events = answer.events()
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert {event["model"] for event in events} == {MODEL}
    assert len({event["id"] for event in events}) == 1
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["length"]


async def test_a_streamed_chat_arrives_piece_by_piece(engine: Engine) -> None:
    answer = await run(engine, job(max_tokens=30))
    assert len(answer.pieces) >= 10
    assert all(piece.data.endswith(b"\n\n") for piece in answer.pieces), "a piece holds whole events"


async def test_a_whole_chat_is_one_piece(engine: Engine) -> None:
    answer = await run(engine, job(stream=False))
    assert len(answer.pieces) == 1
    whole = msgspec.json.decode(answer.data)
    assert (whole["object"], whole["model"]) == ("chat.completion", MODEL)
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["choices"][0]["message"]["content"]
    assert whole["usage"]["completion_tokens"] == 6


async def test_a_streamed_completion_is_openai_chunks(engine: Engine) -> None:
    events = (await run(engine, job(endpoint="completions"))).events()
    assert {event["object"] for event in events} == {"text_completion"}
    assert "".join(event["choices"][0]["text"] for event in events)
    assert events[-1]["choices"][0]["finish_reason"] == "length"


async def test_a_whole_completion_is_one_piece(engine: Engine) -> None:
    answer = await run(engine, job(endpoint="completions", stream=False))
    assert len(answer.pieces) == 1
    whole = msgspec.json.decode(answer.data)
    assert (whole["object"], whole["model"]) == ("text_completion", MODEL)
    assert whole["choices"][0]["text"]


async def test_a_streamed_and_a_whole_answer_say_the_same(engine: Engine) -> None:
    whole = msgspec.json.decode((await run(engine, job(stream=False))).data)
    events = (await run(engine, job())).events()
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert text == whole["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("endpoint", ["chat.completions", "completions"])
async def test_the_final_piece_has_the_usage_also_when_the_client_did_not_ask(
    engine: Engine, endpoint: Endpoint, stream: bool
) -> None:
    answer = await run(engine, job(endpoint=endpoint, stream=stream))
    usage = answer.last.usage
    assert usage is not None
    assert usage.output_tokens == 6
    assert usage.prompt_tokens > 0
    assert answer.last.failure is None
    assert sum(piece.tokens for piece in answer.pieces) == 6


async def test_a_stream_has_a_usage_chunk_only_when_the_client_asks(engine: Engine) -> None:
    silent = (await run(engine, job())).events()
    assert not any(event.get("usage") for event in silent)
    answer = await run(engine, job(stream_options={"include_usage": True}))
    *_, chunk = answer.events()
    assert chunk["choices"] == []
    assert answer.last.usage is not None
    assert chunk["usage"]["completion_tokens"] == answer.last.usage.output_tokens
    assert chunk["usage"]["prompt_tokens"] == answer.last.usage.prompt_tokens
    assert chunk["usage"]["prompt_tokens_details"]["cached_tokens"] == answer.last.usage.cached_tokens


async def test_a_prompt_that_came_before_is_found_in_the_cache(engine: Engine) -> None:
    first = await run(engine, job("r1"))
    second = await run(engine, job("r2"))
    assert first.last.usage is not None
    assert second.last.usage is not None
    assert first.last.usage.cached_tokens == 0
    assert 0 < second.last.usage.cached_tokens < second.last.usage.prompt_tokens


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("endpoint", "expected"), [("chat.completions", "chatcmpl-r7"), ("completions", "cmpl-r7")])
async def test_the_answers_id_is_made_of_the_jobs(
    engine: Engine, endpoint: Endpoint, expected: str, stream: bool
) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    answer = await run(engine, job("r7", endpoint, stream=stream, **options))
    answers = answer.events() if stream else [msgspec.json.decode(answer.data)]
    assert {each["id"] for each in answers} == {expected}


@pytest.mark.parametrize("stream", [True, False])
async def test_the_answer_names_the_model_that_the_job_names(engine: Engine, stream: bool) -> None:
    answer = await run(engine, job(model='my "own" name', stream=stream))
    answers = answer.events() if stream else [msgspec.json.decode(answer.data)]
    assert {each["model"] for each in answers} == {'my "own" name'}


async def test_the_job_and_not_the_body_says_whether_to_stream(engine: Engine) -> None:
    body = msgspec.json.encode(msgspec.json.decode(job().body) | {"stream": False})
    answer = await run(engine, Job(rid="r1", endpoint="chat.completions", model=MODEL, stream=True, body=body))
    assert len(answer.events()) > 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"[]", id="not an object"),
        pytest.param(b"{}", id="no messages"),
        pytest.param(b'{"messages":"x"}', id="messages is a text"),
        pytest.param(b'{"messages":[{"role":"user","content":"x"}],"max_tokens":"many"}', id="max_tokens is a text"),
        pytest.param(b'{"messages":[{"role":"user","content":"\xff"}]}', id="not UTF-8"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_bad_body_is_a_failure_of_the_client(engine: Engine, body: bytes, stream: bool) -> None:
    answer = await run(engine, Job(rid="r1", endpoint="chat.completions", model=MODEL, stream=stream, body=body))
    assert [piece.final for piece in answer.pieces] == [True]
    failure = answer.last.failure
    assert failure is not None
    assert (failure.status, failure.type) == (400, "invalid_request_error")
    assert failure.message
    assert answer.last.usage is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({"n": 2}, "n", id="n"),
        pytest.param({"best_of": 3}, "best_of", id="best_of"),
        pytest.param({"prompt": ["one", "two"]}, "prompt", id="two texts"),
        pytest.param({"prompt": [[1, 2], [3]]}, "prompt", id="two lists of tokens"),
    ],
)
async def test_a_job_that_asks_for_several_answers_is_refused(engine: Engine, body: dict[str, Any], param: str) -> None:
    answer = await run(engine, job(endpoint="completions", **body))
    failure = answer.last.failure
    assert (failure.status, failure.param, len(answer.pieces)) == (400, param, 1)


@pytest.mark.parametrize("body", [{"n": 1}, {"n": None, "best_of": None}, {"prompt": ["Once upon a time"]}])
async def test_a_job_that_asks_for_one_answer_in_many_words_is_served(engine: Engine, body: dict[str, Any]) -> None:
    answer = await run(engine, job(endpoint="completions", stream=False, **body))
    assert answer.last.failure is None


async def test_a_prompt_beyond_the_context_is_refused_with_openais_code(engine: Engine) -> None:
    messages = [{"role": "user", "content": "one two three " * 4000}]
    answer = await run(engine, job(messages=messages))
    assert answer.last.failure is not None
    assert (answer.last.failure.status, answer.last.failure.code) == (400, "context_length_exceeded")


async def test_abort_ends_a_running_job_and_frees_its_slot(engine: Engine) -> None:
    long = [begin(engine, job(f"long{i}", max_tokens=ENDLESS_TOKENS)) for i in range(SLOTS)]
    await eventually(lambda: all(answer.pieces for answer in long), timeout_s=PATIENCE_S)
    waiting = begin(engine, job("waiting"))
    engine.abort("long0")
    await finished(long[0])
    failure = long[0].last.failure
    assert failure is not None
    assert (failure.status, failure.code) == (499, "cancelled")
    await finished(waiting)
    assert waiting.last.failure is None
    assert not long[1].is_final
    engine.abort("long1")
    await finished(long[1])


async def test_nothing_comes_after_the_final_piece_of_an_aborted_job(engine: Engine) -> None:
    answer = begin(engine, job("r1", max_tokens=ENDLESS_TOKENS))
    await eventually(lambda: len(answer.pieces) >= 2, timeout_s=PATIENCE_S)
    engine.abort("r1")
    engine.abort("r1")
    await run(engine, job("r2", max_tokens=20))
    assert [piece.final for piece in answer.pieces] == [False] * (len(answer.pieces) - 1) + [True]


@pytest.mark.parametrize("stream", [True, False])
async def test_abort_ends_a_job_at_once_when_it_has_not_begun(engine: Engine, stream: bool) -> None:
    answer = begin(engine, job("r1", stream=stream))
    engine.abort("r1")
    await finished(answer)
    assert answer.last.failure is not None
    assert answer.last.failure.code == "cancelled"
    assert (await run(engine, job("r1"))).last.failure is None, "its slot is free"


async def test_abort_ends_a_queued_job_while_the_slots_are_busy(engine: Engine) -> None:
    long = [begin(engine, job(f"long{i}", max_tokens=ENDLESS_TOKENS)) for i in range(SLOTS)]
    queued = begin(engine, job("queued"))
    engine.abort("queued")
    await finished(queued)
    assert queued.last.failure is not None
    assert queued.last.failure.code == "cancelled"
    assert not any(answer.is_final for answer in long)


async def test_abort_of_an_unknown_job_does_nothing(engine: Engine) -> None:
    engine.abort("nobody")
    answer = await run(engine, job("r1"))
    engine.abort("r1")
    assert answer.last.failure is None
    assert [piece.final for piece in answer.pieces].count(True) == 1


async def test_more_jobs_than_slots_are_served_in_order(engine: Engine) -> None:
    begun: list[str] = []

    def emit_for(rid: str, answer: Answer) -> Callable[[Piece], None]:
        def emit(piece: Piece) -> None:
            if not answer.pieces:
                begun.append(rid)
            answer.emit(piece)

        return emit

    # Different lengths, so that slots come free one at a time.
    jobs = [job(f"r{i}", max_tokens=8 + 6 * (i % SLOTS)) for i in range(3 * SLOTS)]
    answers = [Answer() for _ in jobs]
    for each, answer in zip(jobs, answers, strict=True):
        engine.generate(each, emit_for(each.rid, answer))
    for answer in answers:
        await finished(answer)
    assert all(answer.last.failure is None for answer in answers)
    assert sorted(begun[:SLOTS]) == [f"r{i}" for i in range(SLOTS)]
    assert begun[SLOTS:] == [f"r{i}" for i in range(SLOTS, 3 * SLOTS)]


async def test_load_tells_what_runs_and_what_waits(engine: Engine) -> None:
    assert (engine.load().running_tokens, engine.load().waiting_tokens) == (0, 0)
    answers = [begin(engine, job(f"r{i}", max_tokens=ENDLESS_TOKENS)) for i in range(SLOTS + 1)]
    await eventually(lambda: all(answer.pieces for answer in answers[:SLOTS]), timeout_s=PATIENCE_S)
    busy = engine.load()
    assert busy.running_tokens > 0
    assert busy.waiting_tokens > 0
    assert 0 < busy.kv_usage <= 1
    for number, answer in enumerate(answers):
        engine.abort(f"r{number}")
        await finished(answer)
    await eventually(lambda: engine.load().running_tokens == 0, timeout_s=PATIENCE_S)
    assert engine.load().waiting_tokens == 0
    assert engine.load().kv_usage == 0


async def test_close_ends_every_job(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    await engine.start()
    answers = [begin(engine, job(f"r{i}", max_tokens=ENDLESS_TOKENS)) for i in range(SLOTS + 2)]
    await eventually(lambda: answers[0].pieces, timeout_s=PATIENCE_S)
    await engine.close()
    for answer in answers:
        await finished(answer)
        assert [piece.final for piece in answer.pieces].count(True) == 1
        assert answer.last.failure is not None
        assert answer.last.failure.status == 503


async def test_close_may_be_called_twice_and_later_jobs_are_refused(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    await engine.start()
    await engine.close()
    await engine.close()
    answer = await run(engine, job())
    assert answer.last.failure is not None
    assert answer.last.failure.status == 503
    with pytest.raises(StartFailed):
        await engine.start()


async def test_close_without_a_start_is_allowed(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    await engine.close()


async def test_an_engine_can_be_made_again_after_another_was_closed(make_engine: MakeEngine) -> None:
    for _ in range(2):
        engine = await make_engine()
        await engine.start()
        assert (await run(engine, job())).last.failure is None
        await engine.close()


async def test_the_loop_runs_between_two_steps(engine: Engine) -> None:
    answer = Answer()
    seen: list[int] = []
    loop = asyncio.get_running_loop()

    def emit(piece: Piece) -> None:
        answer.emit(piece)
        loop.call_soon(lambda: seen.append(len(answer.pieces)))

    engine.generate(job(max_tokens=40), emit)
    await finished(answer)
    await asyncio.sleep(0)
    assert len(set(seen)) >= 10, "a turn of the loop came between most pieces"
