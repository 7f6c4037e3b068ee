"""What comes over a connection and is no plain HTTP/1.1."""

from __future__ import annotations

import asyncio
import json

import pytest

from integration.gateway.conftest import running
from integration.gateway.test_connections import connect, read_all, the_request
from matrixinfer.gateway.doors.connection import HEAD_LIMIT_BYTES
from unit.gateway.farside import MODEL


@pytest.mark.parametrize(
    "sent",
    [
        b"hello there\r\n\r\n",
        b"CONNECT host:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_refused_with_openais_error_object(site, sent: bytes):
    with await connect(site) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, sent)
        answer = await read_all(sock)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert json.loads(body)["error"]["code"] == "invalid_http"


async def test_who_is_given_up_while_its_request_is_read_is_counted_once_by_reason():
    heads = {
        "invalid_http": b"hello there\r\n\r\n",
        "head_too_large": b"GET / HTTP/1.1\r\nx: " + b"x" * HEAD_LIMIT_BYTES,
        "head_timeout": b"GET / HTTP/1.1\r\n",
        "body_timeout": b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n",
    }
    async with running(head_timeout_s=0.2, body_timeout_s=0.2) as site:
        for head in heads.values():
            with await connect(site) as sock:
                await asyncio.get_running_loop().sock_sendall(sock, head)
                await read_all(sock)
        page = (await site.http().get("/metrics")).text
        for reason in heads:
            assert f'matrixinfer_gateway_http_refusals_total{{reason="{reason}",worker="w"}} 1.0' in page


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_client_that_offers_another_protocol_is_answered_in_this_one(site, name: bytes, pieces: int):
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x" * 2000}]}).encode()
    offer = b"Connection: " + name + b", HTTP2-Settings\r\n" + name + b": h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + offer + b"content-length: %d\r\n\r\n" % len(body)
    with await connect(site) as sock:
        cut = len(head) + 100
        for piece in [head + body] if pieces == 1 else [(head + body)[:cut], (head + body)[cut:]]:
            await asyncio.get_running_loop().sock_sendall(sock, piece)
            await asyncio.sleep(0)
        assert (await the_request(site)).body == body
