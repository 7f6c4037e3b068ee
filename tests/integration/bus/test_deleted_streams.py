"""Streams and buckets deleted by hand under living connections: everybody goes on, and nobody storms the server."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.errors import BusError, Unavailable
from matrixinfer.bus.jetstream import drift
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.repair import PAUSE_S
from matrixinfer.bus.ports import Consumer, Delivery, Watch
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.topology import Part
from support.eventually import eventually
from support.nats import connected, running_server


async def delete(bus: Bus, *streams: str) -> None:
    assert isinstance(bus.link, Connection)
    for stream in streams:
        await bus.link.api.call(f"STREAM.DELETE.{stream}")


async def is_stored(bus: Bus, message_id: str) -> bool:
    try:
        await (await bus.queue.post(bus.subjects.work("ns", "pod"), b"", message_id=message_id))
    except Unavailable:
        return False
    return True


async def is_put(bus: Bus, bucket: str, value: bytes) -> bool:
    try:
        await bus.store(bucket).put("k", value)
    except Unavailable:
        return False
    return True


async def is_whole(url: str) -> bool:
    """Looks without mending."""
    return await drift(BusSettings(url=url), SystemClock()) == []


async def follow(watch: Watch, into: dict[str, bytes]) -> None:
    async for change in watch:
        if change.entry is None:
            into.pop(change.key, None)
        else:
            into[change.key] = change.entry.value


async def test_posting_consuming_and_watching_go_on_after_their_streams_were_deleted(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus, connected(server.url) as operator:
        restored: list[str] = []
        taken: list[str] = []
        seen: dict[str, dict[str, bytes]] = {"SERVING": {}, "OBJECTS": {}}

        async def note() -> None:
            restored.append("again")

        async def take(delivery: Delivery) -> None:
            taken.append(delivery.message_id)
            await delivery.ack()

        bus.link.on_restored(note)
        await bus.queue.consume(Consumer("WORK", "a", bus.subjects.work("ns", "pod"), 5.0, 10), take, credits=10)
        for bucket, values in seen.items():
            assert await is_put(bus, bucket, b"before")
            watch = await bus.store(bucket).watch()
            values.update({key: entry.value for key, entry in watch.snapshot.items()})
            running = asyncio.create_task(follow(watch, values))
            running.add_done_callback(lambda task: task.result())
        await delete(operator, "WORK", "KV_SERVING", "KV_OBJECTS")
        await eventually(lambda: is_stored(bus, "after"), timeout_s=10, every_s=0.05)
        await eventually(lambda: is_put(bus, "SERVING", b"after"), timeout_s=10, every_s=0.05)
        await eventually(lambda: is_put(bus, "OBJECTS", b"after"), timeout_s=10, every_s=0.05)
        await eventually(lambda: taken == ["after"], timeout_s=10)
        await eventually(lambda: all(values == {"k": b"after"} for values in seen.values()), timeout_s=10)
        assert restored


async def test_a_reader_alone_brings_its_stream_back_before_anybody_posts(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url_of(Part.AGENT)) as agent:
        taken: list[str] = []

        async def take(delivery: Delivery) -> None:
            taken.append(delivery.message_id)

        await agent.queue.consume(Consumer("WORK", "a", agent.subjects.work("ns", "pod"), 5.0, 10), take, credits=10)
        async with connected(server.url) as operator:
            await delete(operator, "WORK")
            await eventually(lambda: is_whole(server.url), timeout_s=10, every_s=0.05)
            assert await is_stored(operator, "m")
            await eventually(lambda: taken == ["m"], timeout_s=10)


async def test_a_watch_alone_finds_its_bucket_again_by_the_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matrixinfer.bus.jetstream.bucket_reader.HEARTBEAT_S", 0.2)
    async with (
        running_server(tmp_path) as server,
        connected(server.url_of(Part.AGENT)) as agent,
        connected(server.url) as operator,
    ):
        await operator.store("SERVING").put("k", b"before")
        watch = await agent.store("SERVING").watch()
        await delete(operator, "KV_SERVING")
        async with asyncio.timeout(10):
            change = await anext(aiter(watch))
        assert (change.key, change.entry) == ("k", None)


async def test_a_bucket_made_again_tells_its_values_though_their_revisions_are_lower_or_the_same(
    tmp_path: Path,
) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus, connected(server.url) as operator:
        store = bus.store("SERVING")
        await store.put("same", b"before")
        for n in range(20):
            await store.put("lower", b"%d" % n)
        watch = await store.watch()
        seen = {key: entry.value for key, entry in watch.snapshot.items()}
        running = asyncio.create_task(follow(watch, seen))
        assert isinstance(operator.link, Connection)
        config = (await operator.link.api.call("STREAM.INFO.KV_SERVING"))["config"]
        await delete(operator, "KV_SERVING")
        await operator.link.api.call("STREAM.CREATE.KV_SERVING", config)
        await operator.store("SERVING").put("same", b"after")
        await operator.store("SERVING").put("lower", b"after")
        await server.stop()
        await server.start()
        await eventually(lambda: seen == {"same": b"after", "lower": b"after"}, timeout_s=10)
        running.cancel()


async def test_a_stream_that_cannot_be_made_again_is_not_asked_for_at_every_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    declared = 0

    async def refuse(*_: object) -> list[str]:
        nonlocal declared
        declared += 1
        raise BusError("no permission")

    async with running_server(tmp_path) as server, connected(server.url) as bus:
        await delete(bus, "WORK")
        monkeypatch.setattr("matrixinfer.bus.jetstream.connection.declare", refuse)
        with caplog.at_level(logging.WARNING):
            begun_at = bus.clock.monotonic()
            for n in range(500):
                assert not await is_stored(bus, str(n))
            await eventually(lambda: "could not be repaired yet: no permission" in caplog.text)
        assert 1 <= declared <= 1 + (bus.clock.monotonic() - begun_at) / PAUSE_S
