"""The connection itself: writes, slow and leaving clients, large bodies, the port, and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from unittest import mock

import httpx
import pytest

from integration.gateway.conftest import Site, eventually_async, running
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import ChunkKind
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.gateway.errors import PortTaken, StartError
from matrixinfer.gateway.main import serve
from matrixinfer.gateway.relay.watchdog import Watchdog
from matrixinfer.gateway.settings import GatewaySettings
from support.eventually import eventually
from unit.gateway.farside import MODEL, chunk

BODY = json.dumps({"model": MODEL, "messages": [{"role": "user"}], "stream": True}).encode()


def request(*, stream: bool = True, body: bytes = b"", head: str = "") -> bytes:
    body = body or json.dumps({"model": MODEL, "messages": [{"role": "user"}], "stream": stream}).encode()
    length = "" if "length" in head or "encoding" in head else f"content-length: {len(body)}\r\n"
    return f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{length}{head}\r\n".encode() + body


async def connect(site: Site, *, receive_buffer: int = 0) -> socket.socket:
    """A raw socket, so that what one `recv` returns is what one write sent."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, site.address)
    return sock


async def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        async with asyncio.timeout(10):
            piece = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
        assert piece, f"the connection ended after {data!r}"
        data += piece
    return data


async def the_request(site: Site, count: int = 1) -> Envelope:
    await eventually(lambda: len(site.far.envelopes) >= count)
    return site.far.envelopes[-1]


async def test_headers_and_first_event_come_in_one_piece_also_on_a_connections_second_request(site):
    loop = asyncio.get_running_loop()
    with await connect(site) as sock:
        for count in (1, 2, 3):
            await loop.sock_sendall(sock, request())
            envelope = await the_request(site, count)
            await site.far.send(envelope, chunk(envelope, 0, b"data: first\n\n"))
            async with asyncio.timeout(5):
                first = await loop.sock_recv(sock, 65536)
            assert first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert first.endswith(b"data: first\n\n\r\n")
            await site.far.send(envelope, chunk(envelope, 1, b"data: second\n\n"))
            async with asyncio.timeout(5):
                assert await loop.sock_recv(sock, 65536) == b"e\r\ndata: second\n\n\r\n"
            await site.far.send(envelope, chunk(envelope, 2, b"", ChunkKind.END))
            assert await read_until(sock, b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_chunks_of_one_frame_leave_in_one_write(site):
    loop = asyncio.get_running_loop()
    with await connect(site) as sock:
        await loop.sock_sendall(sock, request())
        envelope = await the_request(site)
        await site.far.send(envelope, *(chunk(envelope, n, b"data: %d\n\n" % n) for n in range(3)))
        async with asyncio.timeout(5):
            first = await loop.sock_recv(sock, 65536)
        assert first.endswith(b"1b\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n\r\n")


async def test_a_client_that_leaves_while_its_request_is_queued_cancels_it_at_dispatch(site):
    with await connect(site) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, request())
        envelope = await the_request(site)
    (notice,) = await eventually(lambda: site.far.notices)
    assert (notice.rid, notice.attempt) == (envelope.rid, 1)
    assert site.far.aborted() == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_while_its_answer_comes_aborts_it_at_the_agent(site, stream):
    with await connect(site) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, request(stream=stream))
        envelope = await the_request(site)
        await site.far.send(envelope, chunk(envelope, 0, b"data: a\n\n"))
        if stream:
            await read_until(sock, b"a\n\n\r\n")
    assert await eventually(lambda: site.far.aborted()) == [WorkKey(envelope.rid, 1, 1)]
    assert [n.rid for n in await eventually(lambda: site.far.notices)] == [envelope.rid]
    page = (await site.http().get("/metrics")).text
    assert 'status="499",worker="w"} 1.0' in page
    assert 'requests_in_flight{worker="w"} 0.0' in page


async def test_a_client_that_leaves_before_its_body_is_complete_publishes_nothing(site):
    with await connect(site) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, request(body=b'{"model"', head="content-length: 500\r\n"))
    assert (await site.http().get("/healthz")).status_code == 200
    assert site.far.envelopes == []


@pytest.mark.parametrize("head", ["content-length: 100000000\r\n", "transfer-encoding: chunked\r\n"])
async def test_a_huge_body_is_refused_without_reading_it_all(head):
    async with running(body_limit_bytes=4096) as site:
        body = b"1400\r\n" + bytes(5120) + b"\r\n" if "chunked" in head else b"{"
        with await connect(site) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, request(body=body, head=head))
            answer = await read_until(sock, b"}}")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer
        assert site.far.envelopes == []


async def test_a_body_in_many_pieces_is_put_together(site):
    loop = asyncio.get_running_loop()
    text = json.dumps({"model": MODEL, "messages": ["x" * 300_000]}).encode()
    with await connect(site) as sock:
        await loop.sock_sendall(sock, request(body=text))
        sent = await the_request(site)
        assert await site.far.bus.blobs.get(sent.body_ref) == text
    assert await eventually(lambda: site.far.notices), "after a long body a client that leaves was not noticed"


async def test_a_client_that_does_not_read_holds_up_nobody_and_is_dropped():
    async with running(client_buffer_bytes=256 * 1024) as site:
        loop = asyncio.get_running_loop()
        with await connect(site, receive_buffer=4096) as sock:
            await loop.sock_sendall(sock, request())
            envelope = await the_request(site)
            number = 0
            while not site.far.aborted():
                assert number < 4000, "nothing stopped a flood at a client that does not read"
                await site.far.send(envelope, chunk(envelope, number, bytes(16_384)))
                number += 1
                await asyncio.sleep(0)
            assert site.far.aborted()[0] == WorkKey(envelope.rid, 1, 1)

            async def in_flight() -> bool:
                return 'requests_in_flight{worker="w"} 0.0' in (await site.http().get("/metrics")).text

            await eventually_async(in_flight)


async def test_a_slow_client_that_reads_in_the_end_gets_every_byte(site):
    loop = asyncio.get_running_loop()
    with await connect(site, receive_buffer=4096) as sock:
        await loop.sock_sendall(sock, request())
        envelope = await the_request(site)
        pieces = [bytes([65 + n % 26]) * 16_384 for n in range(100)]
        await site.far.stream(envelope, pieces)
        raw = await read_until(sock, b"\r\n0\r\n\r\n")
    body, rest = b"", raw.split(b"\r\n\r\n", 1)[1]
    while (size := int(rest.split(b"\r\n", 1)[0], 16)) > 0:
        rest = rest.split(b"\r\n", 1)[1]
        body, rest = body + rest[:size], rest[size + 2 :]
    assert body == b"".join(pieces)


async def test_stopping_lets_what_is_in_flight_finish_and_takes_nothing_new():
    async with running(drain_s=20) as site:
        http = site.http()
        first = asyncio.create_task(http.post("/v1/chat/completions", content=BODY))
        envelope = await the_request(site)
        await site.far.send(envelope, chunk(envelope, 0, b"data: a\n\n"))
        site.stop.set()

        async def refused() -> bool:
            try:
                return (await site.http().get("/healthz")).status_code == 0
            except httpx.ConnectError:
                return True

        await eventually_async(refused)
        assert not site.server.done()
        await site.far.send(envelope, chunk(envelope, 1, b"data: b\n\n", ChunkKind.END))
        assert (await first).content == b"data: a\n\ndata: b\n\n"
        async with asyncio.timeout(5):
            await site.server


async def test_what_outlives_the_drain_is_ended_with_an_error_and_cancelled():
    async with running(drain_s=0.2) as site:
        http = site.http()
        queued = asyncio.create_task(http.post("/v1/chat/completions", content=BODY))
        queued_envelope = await the_request(site)
        streaming = asyncio.create_task(http.post("/v1/chat/completions", content=BODY))
        envelope = await the_request(site, 2)
        await site.far.send(envelope, chunk(envelope, 0, b"data: a\n\n"))
        site.stop.set()
        assert (await queued).status_code == 503
        assert (await queued).json()["error"]["code"] == "shutting_down"
        assert (await queued).json()["error"]["message"].endswith("try again")
        assert (await queued).headers["retry-after"] == "1"
        assert b'"code":"shutting_down"' in (await streaming).content
        async with asyncio.timeout(5):
            await site.server
        assert {n.rid for n in site.far.notices} == {queued_envelope.rid, envelope.rid}


async def test_a_taken_port_stops_the_start_and_says_what_to_do(site):
    host, port = site.address
    with pytest.raises(PortTaken, match=f"{host}:{port}: stop it, or choose another port"):
        await serve(GatewaySettings(host=host, port=port), site.bus, asyncio.Event())


async def test_an_address_that_is_not_ours_stops_the_start():
    with pytest.raises(StartError, match=r"cannot listen on 203\.0\.113\.7:0"):
        async with running(host="203.0.113.7"):
            pass


async def test_workers_share_a_port():
    async with running(reuse_port=True) as site:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        settings = GatewaySettings(port=site.address[1], reuse_port=True)
        second = asyncio.create_task(serve(settings, site.bus, stop, on_listening=ready.set_result))
        async with asyncio.timeout(5):
            assert await ready == site.url
        stop.set()
        async with asyncio.timeout(5):
            await second


async def test_a_background_part_that_dies_ends_the_worker_with_its_error(site):
    defect = mock.patch.object(Watchdog, "run", mock.AsyncMock(side_effect=ValueError("a defect")))
    with defect, pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(10):
            await serve(GatewaySettings(port=0), site.bus, asyncio.Event())
    assert caught.group_contains(ValueError, match="a defect")


async def test_a_cancelled_worker_tells_its_clients_and_frees_the_port():
    async with running() as site:
        asked = asyncio.create_task(site.http().post("/v1/chat/completions", content=BODY))
        await the_request(site)
        site.server.cancel()
        assert (await asked).json()["error"]["code"] == "shutting_down"
        with pytest.raises(asyncio.CancelledError):
            await site.server
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(site.address)
            sock.listen()


async def test_a_client_that_sends_all_of_a_huge_body_before_it_reads_still_sees_why_it_was_refused(site):
    answer = await site.http().post("/v1/chat/completions", content=bytes(32 * 1024 * 1024))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def read_all(sock: socket.socket) -> bytes:
    """Until the other side closes."""
    data = b""
    async with asyncio.timeout(10):
        while piece := await asyncio.get_running_loop().sock_recv(sock, 65536):
            data += piece
    return data


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_come_is_given_up(sent):
    async with running(head_timeout_s=0.2) as site:
        with await connect(site) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, sent)
            assert (await read_all(sock)).startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_trickles_is_given_up():
    async with running(head_timeout_s=0.2) as site:
        loop = asyncio.get_running_loop()
        with await connect(site) as sock:
            answer = asyncio.create_task(read_all(sock))
            for _ in range(1000):
                if answer.done():
                    break
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\na: " if _ == 0 else b"x")
                await asyncio.wait({answer}, timeout=0.01)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(0):
                    await answer


async def test_a_line_break_on_an_idle_connection_does_not_keep_it_for_ever():
    async with running(head_timeout_s=0.2) as site:
        loop = asyncio.get_running_loop()
        with await connect(site) as sock:
            await loop.sock_sendall(sock, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            await read_until(sock, b"}")
            await loop.sock_sendall(sock, b"\r\n")
            assert (await read_all(sock)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/healthz"])
async def test_a_body_that_makes_no_progress_is_given_up(path):
    async with running(body_timeout_s=0.2, head_timeout_s=100) as site:
        with await connect(site) as sock:
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{{"
            await asyncio.get_running_loop().sock_sendall(sock, head.encode())
            status = 405 if path == "/healthz" else 408
            assert (await read_all(sock)).startswith(b"HTTP/1.1 %d " % status)
        assert site.far.envelopes == []


async def test_an_idle_connection_and_one_that_waits_for_its_answer_are_left_alone():
    async with running(head_timeout_s=0.2, body_timeout_s=0.2) as site:
        loop = asyncio.get_running_loop()
        with await connect(site) as waiting, await connect(site) as idle:
            await loop.sock_sendall(idle, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            await read_until(idle, b"}")
            await loop.sock_sendall(waiting, request(stream=False))
            envelope = await the_request(site)
            for _ in range(2):  # each is given up after the server looked at all connections, more than once
                with await connect(site) as silent:
                    assert (await read_all(silent)).startswith(b"HTTP/1.1 408 ")
            await site.far.stream(envelope, [b"{}"])
            await read_until(waiting, b"{}")
            await loop.sock_sendall(idle, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await read_until(idle, b"}")).startswith(b"HTTP/1.1 200 ")


async def test_a_head_without_end_is_refused_before_it_fills_the_memory(site):
    loop = asyncio.get_running_loop()
    with await connect(site) as sock:
        await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nx: ")
        flood = loop.sock_sendall(sock, b"x" * 64 * 1024 * 1024)
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                await flood


async def test_the_end_of_a_long_body_does_not_count_for_the_head_behind_it(site):
    loop = asyncio.get_running_loop()
    body = json.dumps({"model": MODEL, "messages": ["x" * 200_000]}).encode()
    with await connect(site) as sock:
        behind = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
        await loop.sock_sendall(sock, request(body=body) + behind)
        envelope = await the_request(site)
        await site.far.stream(envelope, [b"{}"])
        await read_until(sock, b"{}")
        await loop.sock_sendall(sock, b"\r\n")
        assert (await read_until(sock, b"}")).startswith(b"HTTP/1.1 200 ")
