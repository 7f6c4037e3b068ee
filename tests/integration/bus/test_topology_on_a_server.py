"""Declaring the topology on real servers: drift, old servers, two installations, no server at all."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.errors import Incompatible, Unavailable
from matrixinfer.bus.jetstream import connect, drift
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.ports import Consumer, Delivery
from matrixinfer.bus.server.binary import find_server
from matrixinfer.bus.server.process import greets
from matrixinfer.bus.server.record import free_port
from matrixinfer.bus.settings import BusSettings
from support.eventually import eventually
from support.nats import connected, running_server


async def test_a_declared_server_does_not_differ_and_an_empty_one_misses_everything(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        settings = BusSettings(url=server.url)
        before = await drift(settings, SystemClock())
        assert "stream REQUESTS does not exist" in before
        assert "stream KV_LEASES does not exist" in before
        async with connected(server.url):
            assert await drift(settings, SystemClock()) == []


async def test_drift_is_reported_and_mended_by_the_next_who_connects(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        api = bus.link.api if isinstance(bus.link, Connection) else pytest.fail("not a server's bus")
        config = (await api.call("STREAM.INFO.REQUESTS"))["config"]
        await api.call("STREAM.UPDATE.REQUESTS", {**config, "max_msgs": 7})
        settings = BusSettings(url=server.url)
        assert await drift(settings, SystemClock()) == ["stream REQUESTS: max_msgs is 7, expected 200000"]
        async with connected(server.url):
            assert await drift(settings, SystemClock()) == []


async def test_drift_that_the_server_cannot_mend_stays_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        api = bus.link.api if isinstance(bus.link, Connection) else pytest.fail("not a server's bus")
        config = (await api.call("STREAM.INFO.WORK"))["config"]
        await api.call("STREAM.DELETE.WORK")
        await api.call("STREAM.CREATE.WORK", {**config, "storage": "file"})
        async with connected(server.url):
            assert "storage is 'file', expected 'memory'" in caplog.text
        (left,) = await drift(BusSettings(url=server.url), SystemClock())
        assert left == "stream WORK: storage is 'file', expected 'memory'"


async def test_a_server_too_old_for_the_topology_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matrixinfer.bus.jetstream.declare.REQUIRED_API_LEVEL", 99)
    async with running_server(tmp_path) as server:
        with pytest.raises(Incompatible, match=r"API level \d+, this bus needs 99"):
            await connect(BusSettings(url=server.url), SystemClock())


async def test_a_server_without_jetstream_is_refused(tmp_path: Path) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(find_server()), "-a", "127.0.0.1", "-p", str(port), "-l", str(tmp_path / "log")
    )
    try:
        await eventually(lambda: greets(port))
        with pytest.raises(Incompatible, match="has no JetStream"):
            await connect(BusSettings(url=f"nats://127.0.0.1:{port}"), SystemClock())
    finally:
        process.kill()
        await process.wait()


async def test_no_server_is_an_error_that_names_the_address_but_no_password() -> None:
    url = f"nats://agent:secret@127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1") as caught:
        await connect(BusSettings(url=url, connect_timeout_s=0.5), SystemClock())
    assert "secret" not in str(caught.value)


async def test_what_takes_connections_but_does_not_speak_nats_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"nats://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"\(.* says nothing that NATS would\): start one there"):
            await connect(BusSettings(url=url, connect_timeout_s=0.5), SystemClock())


async def test_addresses_that_cannot_be_used_together_are_an_error_at_once() -> None:
    with pytest.raises(Unavailable, match="mixing of websocket"):
        await connect(BusSettings(url="nats://127.0.0.1:1,ws://127.0.0.1:1"), SystemClock())


async def test_more_copies_than_servers_are_refused_with_advice(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        with pytest.raises(Incompatible, match="MATRIXINFER_BUS_REPLICAS to 1"):
            await connect(BusSettings(url=server.url, replicas=3), SystemClock())


async def test_a_wrong_password_is_an_error_at_once_or_by_the_deadline(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        url = f"nats://agent:wrong@127.0.0.1:{server.port}"
        with pytest.raises(Unavailable, match=r"(?i)authorization"):
            await connect(BusSettings(url=url, connect_timeout_s=0.7), SystemClock())


async def test_two_installations_share_a_server_without_meeting(tmp_path: Path) -> None:
    async with (
        running_server(tmp_path) as server,
        connected(server.url) as one,
        connected(server.url, prefix="two") as two,
    ):
        seen: list[bytes] = []

        async def take(delivery: Delivery) -> None:
            seen.append(delivery.data)

        for bus, data in ((one, b"one"), (two, b"two")):
            stored = await (await bus.queue.post(bus.subjects.work("ns", "p"), data, message_id="same"))
            assert (stored.stream, stored.duplicate) == ("WORK", False)
            await bus.store("SERVING").put("k", data)
        await two.queue.consume(Consumer("WORK", "a", two.subjects.work("ns", "p"), 1.0, 10), take, credits=10)
        await eventually(lambda: seen)
        assert seen == [b"two"]
        assert [e.value for e in (await one.store("SERVING").entries()).values()] == [b"one"]
        assert await two.queue.remove(stored)
