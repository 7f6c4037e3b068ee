"""What a client gets over HTTP: streamed and whole answers, and every kind of error, as OpenAI's clients see them."""

from __future__ import annotations

import asyncio
import json
from unittest import mock

import openai
import pytest

from integration.gateway.conftest import Site, eventually_async, running
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from matrixinfer.bus.contracts.serving import Route, Rule, Target
from matrixinfer.bus.errors import QueueFull
from matrixinfer.gateway.pipeline.publishing import Publisher
from support.eventually import eventually
from unit.gateway.farside import MODEL, NAMESPACE, chunk, failed, publish_route

MESSAGES = [{"role": "user", "content": "hi"}]
ASK = {"model": MODEL, "messages": MESSAGES}


def event(text: str) -> bytes:
    delta = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps(delta | {"choices": [choice]}).encode() + b"\n\n"


def whole(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]}
    ).encode()


def words(site: Site, *texts: str):
    async def script(envelope: Envelope) -> None:
        if envelope.stream:
            await site.far.stream(envelope, [*(event(t) for t in texts), b"data: [DONE]\n\n"])
        else:
            await site.far.stream(envelope, [whole("".join(texts))])

    return script


def failing(site: Site, failure: Failure):
    async def script(envelope: Envelope) -> None:
        await site.far.send(envelope, failed(envelope, failure))

    return script


async def test_a_model_that_was_deleted_is_not_found(site):
    for entry in (f"route.{NAMESPACE}.r", *await site.bus.store("SERVING").entries("pool")):
        await site.bus.store("SERVING").delete(entry)
    http = site.http()

    async def is_gone() -> bool:
        return (await http.get("/v1/models")).json()["data"] == []

    await eventually_async(is_gone)
    answer = await http.post("/v1/chat/completions", json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_streamed_and_a_whole_answer_as_openais_client_reads_them(site):
    site.far.script = words(site, "to", "get", "her")
    client = site.openai()
    stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    assert [c.choices[0].delta.content async for c in stream] == ["to", "get", "her"]
    answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == "together"


async def test_bytes_pass_through_untouched_and_headers_say_what_they_are(site):
    site.far.script = words(site, "a", "b")
    http = site.http()
    streamed = await http.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert streamed.content == event("a") + event("b") + b"data: [DONE]\n\n"
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    body = json.dumps(ASK | {"nvext": {"x": 1}, "z": 1.50}, indent=3).encode()
    answered = await http.post("/v1/chat/completions", content=body, headers={"traceparent": "00-ab-cd-01"})
    assert answered.content == whole("ab")
    assert (answered.headers["content-type"], "transfer-encoding" in answered.headers) == ("application/json", False)
    sent = site.far.envelopes[-1]
    assert (sent.body, sent.traceparent) == (body, "00-ab-cd-01")
    assert [streamed.headers["x-request-id"], answered.headers["x-request-id"]] == [e.rid for e in site.far.envelopes]


async def test_completions_go_the_same_way(site):
    async def script(envelope: Envelope) -> None:
        text = {"id": "c", "object": "text_completion", "created": 1, "model": MODEL}
        choices = [{"index": 0, "text": "ok", "finish_reason": "stop", "logprobs": None}]
        await site.far.stream(envelope, [json.dumps(text | {"choices": choices}).encode()])

    site.far.script = script
    answer = await site.openai().completions.create(model=MODEL, prompt="hi", max_tokens=3)
    assert answer.choices[0].text == "ok"
    assert (site.far.envelopes[0].endpoint, site.far.envelopes[0].max_tokens) == ("completions", 3)


async def test_a_model_that_the_engine_serves_under_another_name_is_rewritten(site):
    await publish_route(site.bus, Route(NAMESPACE, "r2", "alias", [Rule([Target("ms", model="real")])]))
    site.far.script = words(site, "ok")
    http = site.http()

    async def served() -> bool:
        answer = await http.post("/v1/chat/completions", json=ASK | {"model": "alias", "seed": 7})
        return bool(answer.status_code == 200)

    await eventually_async(served)
    sent = site.far.envelopes[-1]
    assert sent.model == "alias"
    assert json.loads(sent.body) == ASK | {"model": "real", "seed": 7}


ERRORS = [
    (Failure(400, "bad", "invalid_request_error", "c", "p"), openai.BadRequestError),
    (Failure(429, "much", "rate_limit_error", "queue_full", "", 1.2), openai.RateLimitError),
    (Failure(502, "lost"), openai.InternalServerError),
    (Failure(504, "late", code="deadline_exceeded"), openai.InternalServerError),
]


@pytest.mark.parametrize(("failure", "kind"), ERRORS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_first_byte_is_a_status(site, failure, kind, stream):
    site.far.script = failing(site, failure)
    with pytest.raises(kind) as caught:
        await site.openai().chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)
    error = caught.value
    assert (error.status_code, error.type, error.code or "", error.param or "") == (
        failure.status,
        failure.type,
        failure.code,
        failure.param,
    )
    assert error.response.headers.get("retry-after") == ("2" if failure.retry_after_s else None)
    assert error.request_id == site.far.envelopes[0].rid


async def test_a_failure_after_the_first_byte_is_an_event_and_no_done_follows(site):
    async def script(envelope: Envelope) -> None:
        await site.far.send(envelope, chunk(envelope, 0, event("a")))
        await site.far.send(envelope, failed(envelope, Failure(502, "the agent died"), number=1))

    site.far.script = script
    stream = await site.openai().chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    assert (await anext(stream)).choices[0].delta.content == "a"
    with pytest.raises(openai.APIError, match="the agent died"):
        await anext(stream)
    raw = await site.http().post("/v1/chat/completions", json=ASK | {"stream": True})
    assert raw.content.endswith(b"}}\n\n")
    assert b"[DONE]" not in raw.content


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/chat/completions", b'{"model": ', 400, "invalid_json"),
        ("/v1/chat/completions", b'{"model": "tiny"}', 400, "invalid_request"),
        ("/v1/chat/completions", b'{"model": "huge", "messages": [1]}', 404, "model_not_found"),
        ("/v1/nowhere", b"{}", 404, "not_found"),
        ("/v1/models", b"{}", 405, "method_not_allowed"),
    ],
)
async def test_what_cannot_be_served_is_refused_in_openais_form(site, path, body, status, code):
    answer = await site.http().post(path, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert site.far.envelopes == []


async def test_reading_an_inference_endpoint_is_refused_in_openais_form(site):
    answer = await site.http().get("/v1/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_an_unknown_page_is_named_as_it_was_asked_for(site):
    for path in ("/v1/nowhere", "//v1/models"):
        answer = await site.http().get(f"{site.url}{path}")
        assert answer.json()["error"]["message"] == f"there is nothing at {path!r}"


async def test_a_page_that_is_written_to_tells_what_it_takes(site):
    answer = await site.http().post("/v1/models", content=b"{}")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_an_error_quotes_only_the_beginning_of_what_was_sent(site):
    http, name = site.http(), "m" * 20_000
    asked = await http.post("/v1/chat/completions", json=ASK | {"model": name})
    looked_up = await http.get(f"/v1/models/{name}")
    for answer in (asked, looked_up, await http.get(f"/{name}")):
        assert answer.status_code == 404
        assert len(answer.content) < 500
        assert "m" * 90 in answer.json()["error"]["message"]


async def test_a_defect_is_answered_in_openais_form_and_logged(site, caplog):
    with mock.patch.object(Publisher, "publish", mock.AsyncMock(side_effect=ZeroDivisionError("a defect"))):
        answer = await site.http().post("/v1/chat/completions", json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "a defect" not in answer.text
    assert "ZeroDivisionError: a defect" in caplog.text
    assert (await site.http().get("/metrics")).text.count('status="500",worker="w"} 1.0') == 1


async def test_a_full_queue_is_429_with_advice(site):
    full: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    full.set_exception(QueueFull("4096 messages wait"))
    with mock.patch.object(site.bus.queue, "post", mock.AsyncMock(return_value=full)):
        answer = await site.http().post("/v1/chat/completions", json=ASK)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["error"]["code"] == "queue_full"


async def test_more_requests_than_the_worker_may_hold_get_503():
    async with running(max_in_flight=1) as site:
        http = site.http()
        first = asyncio.create_task(http.post("/v1/chat/completions", json=ASK))
        (envelope,) = await eventually(lambda: site.far.envelopes)
        refused = await http.post("/v1/chat/completions", json=ASK)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        await site.far.stream(envelope, [b"{}"])
        assert (await first).status_code == 200


async def test_two_hundred_at_once_each_get_their_own_answer(site):
    async def script(envelope: Envelope) -> None:
        name = json.loads(envelope.body)["user"]
        await site.far.stream(envelope, [f"data: {name}-{n}\n\n".encode() for n in range(5)])

    site.far.script = script
    http = site.http()
    asked = [http.post("/v1/chat/completions", json=ASK | {"stream": True, "user": f"u{n}"}) for n in range(200)]
    answers = await asyncio.gather(*asked)
    assert [a.text for a in answers] == ["".join(f"data: u{n}-{k}\n\n" for k in range(5)) for n in range(200)]
    page = (await http.get("/metrics")).text
    assert 'requests_total{endpoint="chat.completions",model="tiny",status="200",worker="w"} 200.0' in page
    assert 'tokens_total{kind="output",model="tiny",worker="w"} 1000.0' in page
    assert 'requests_in_flight{worker="w"} 0.0' in page


async def test_the_deadline_header_is_kept(site):
    answer = await site.http().post("/v1/chat/completions", json=ASK, headers={"x-request-timeout-s": "1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert [n.rid for n in await eventually(lambda: site.far.notices)] == [answer.headers["x-request-id"]]


async def test_models_health_and_readiness(site):
    http = site.http()
    models = (await http.get("/v1/models")).json()
    assert [m["id"] for m in models["data"]] == [MODEL]
    assert (await http.get(f"/v1/models/{MODEL}")).json()["id"] == MODEL
    assert (await http.get("/v1/models/none")).status_code == 404
    assert [m.id async for m in site.openai().models.list()] == [MODEL]
    assert [(await http.get(p)).status_code for p in ("/healthz", "/readyz")] == [200, 200]
    site.broker.drop_connection(site.bus)
    assert [(await http.get(p)).status_code for p in ("/healthz", "/readyz")] == [200, 503]
    site.broker.restore_connection(site.bus)
    assert (await http.get("/readyz")).status_code == 200


async def test_a_tenant_header_counts_only_behind_a_trusted_proxy(site):
    site.far.script = words(site, "ok")
    await site.http().post("/v1/chat/completions", json=ASK, headers={"x-tenant": "acme"})
    async with running(trust_tenant_header=True) as trusting:
        trusting.far.script = words(trusting, "ok")
        await trusting.http().post("/v1/chat/completions", json=ASK, headers={"x-tenant": "acme"})
        assert [site.far.envelopes[0].tenant, trusting.far.envelopes[0].tenant] == ["default", "acme"]


async def test_a_last_chunk_without_bytes_ends_the_stream(site):
    async def script(envelope: Envelope) -> None:
        await site.far.send(envelope, chunk(envelope, 0, b"data: a\n\n"))
        await site.far.send(envelope, chunk(envelope, 1, b"", ChunkKind.END))

    site.far.script = script
    answer = await site.http().post("/v1/chat/completions", json=ASK | {"stream": True})
    assert answer.content == b"data: a\n\n"
