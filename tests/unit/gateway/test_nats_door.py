from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from unittest import mock

import msgspec
import pytest

from matrixinfer.bus.background import Background
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from matrixinfer.bus.errors import NobodyThere
from matrixinfer.gateway.doors.nats import NatsDoor
from matrixinfer.gateway.metrics import Metrics
from matrixinfer.gateway.pipeline.publishing import Publisher
from unit.gateway.conftest import Rig
from unit.gateway.farside import MODEL, chunk, failed

SUBJECT = "mi.api.ac=2Eme.chat.completions"


class Request:
    """A message with a reply subject, as a client of the bus sends it."""

    def __init__(self, subject: str, **fields: object) -> None:
        self.subject = subject
        self.headers: dict[bytes, bytes] = {}
        self.data = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user"}]} | fields)
        self.replies: list[bytes] = []

    async def respond(self, data: bytes) -> None:
        self.replies.append(data)


@pytest.fixture
async def door(rig: Rig) -> AsyncIterator[NatsDoor]:
    background = Background()
    metrics = Metrics(lambda: 0, "w")
    nats = NatsDoor(rig.bus, rig.worker.intake, rig.worker.relay, metrics, background)
    await nats.open()
    yield nats
    await nats.close()
    await background.close()


async def test_its_headers_are_those_of_the_http_door(rig, door):
    request = Request(SUBJECT)
    request.headers = {b"x-priority": b"-2", b"x-session-id": b"s", b"x-request-timeout-s": b"7"}
    await door._asked("chat.completions", request)
    await rig.clock.advance(0)
    (envelope,) = rig.far.envelopes
    assert (envelope.priority, envelope.session, envelope.remaining_s) == (-2, "s", 7)


async def test_a_whole_answer_is_one_message_and_the_tenant_is_in_the_subject(rig, door):
    async def script(envelope):
        await rig.far.stream(envelope, [b'{"id": 1}'])

    rig.far.script = script
    data = Request(SUBJECT).data
    assert await rig.far.bus.signals.request(SUBJECT, data, timeout_s=5) == b'{"id": 1}'
    assert rig.far.envelopes[0].tenant == "ac.me"
    completions = b'{"model": "tiny", "prompt": "x"}'
    await rig.far.bus.signals.request("mi.api.t.completions", completions, timeout_s=5)
    assert rig.far.envelopes[1].endpoint == "completions"
    await rig.clock.advance(0)
    assert len(rig.worker.relay) == 0


async def test_a_stream_is_messages_of_whole_events_and_an_empty_one_ends_it(rig, door):
    request = Request(SUBJECT, stream=True)
    await door._asked("chat.completions", request)
    await rig.clock.advance(0)
    (envelope,) = rig.far.envelopes
    await rig.far.send(envelope, chunk(envelope, 0, b"data: a\n\n"))
    await rig.clock.advance(0)
    await rig.far.send(envelope, chunk(envelope, 1, b"data: [DONE]\n\n", ChunkKind.END))
    await rig.clock.advance(0)
    assert request.replies == [b"data: a\n\n", b"data: [DONE]\n\n", b""]


async def test_a_failure_in_a_stream_is_its_last_event(rig, door):
    request = Request(SUBJECT, stream=True)
    await door._asked("chat.completions", request)
    await rig.clock.advance(0)
    (envelope,) = rig.far.envelopes
    await rig.far.send(envelope, chunk(envelope, 0, b"data: a\n\n"))
    await rig.far.send(envelope, failed(envelope, Failure(502, "gone"), number=1))
    await rig.clock.advance(0)
    assert request.replies[-1] == b""
    assert b"".join(request.replies).startswith(b'data: a\n\ndata: {"error":{"message":"gone"')


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_first_event_is_one_message(rig, door, stream):
    refused, failing = Request(SUBJECT, model="nobody", stream=stream), Request(SUBJECT, stream=stream)
    for request in (refused, failing):
        await door._asked("chat.completions", request)
    await rig.clock.advance(0)
    (envelope,) = rig.far.envelopes
    await rig.far.send(envelope, failed(envelope, Failure(502, "gone", code="upstream_lost")))
    await rig.clock.advance(0)
    codes = [[json.loads(reply)["error"]["code"] for reply in r.replies] for r in (refused, failing)]
    assert codes == [["model_not_found"], ["upstream_lost"]]


@pytest.mark.parametrize("token", ["a=2e", "a=2Eb=41", "=FF"])
async def test_a_tenant_that_is_no_name_of_the_grammar_is_refused(rig, door, token):
    subject = f"mi.api.{token}.chat.completions"
    reply = await rig.far.bus.signals.request(subject, Request(subject).data, timeout_s=5)
    error = json.loads(reply)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_subject")
    assert rig.far.envelopes == []


async def test_a_defect_is_answered_as_ours_and_logged(rig, door, caplog):
    defect = mock.patch.object(Publisher, "publish", mock.AsyncMock(side_effect=ZeroDivisionError("a defect")))
    with defect:
        reply = await rig.far.bus.signals.request(SUBJECT, Request(SUBJECT).data, timeout_s=5)
    assert json.loads(reply)["error"]["code"] == "internal_error"
    assert b"a defect" not in reply
    assert "ZeroDivisionError: a defect" in caplog.text
    assert len(rig.worker.relay) == 0


async def test_a_closed_door_takes_nothing_but_finishes_what_is_in_hand(rig, door):
    request = Request(SUBJECT)
    await door._asked("chat.completions", request)
    await rig.clock.advance(0)
    await door.close()
    idle = asyncio.create_task(door.wait_idle())
    with pytest.raises(NobodyThere):
        await rig.far.bus.signals.request(SUBJECT, request.data, timeout_s=1)
    assert not idle.done()
    await rig.far.stream(rig.far.envelopes[0], [b"{}"])
    await rig.clock.advance(0)
    assert idle.done()
    assert request.replies == [b"{}"]
