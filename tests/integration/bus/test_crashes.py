"""Real failures of a real server: nothing that was said to be stored is lost, and everybody goes on."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import QueueFull, Unavailable
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.ports import Consumer, Delivery, Signal
from support.eventually import eventually
from support.nats import connected, running_server


def requests(bus: Bus) -> Consumer:
    return Consumer("REQUESTS", "d-1", bus.subjects.infer_filter("ns", "ms", 0), 1.0, 20_000)


class Load:
    """Posts without a pause and remembers what the bus said it has."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.stored: set[str] = set()

    async def run(self) -> None:
        number = 0
        while True:
            message_id = f"m{number}"
            subject = self._bus.subjects.infer("ns", "ms", 0, f"t{number % 7}")
            try:
                await (await self._bus.queue.post(subject, b"x" * 500, message_id=message_id))
            except (Unavailable, QueueFull):
                await asyncio.sleep(0.02)  # the same message again, as a gateway does
                continue
            self.stored.add(message_id)
            number += 1


async def test_a_killed_server_loses_nothing_that_it_stored_and_reading_goes_on(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as posting, connected(server.url) as reading:
        seen: dict[str, int] = {}

        async def take(delivery: Delivery) -> None:
            seen[delivery.message_id] = seen.get(delivery.message_id, 0) + 1
            await delivery.ack()
            consumption.grant(1)

        consumption = await reading.queue.consume(requests(reading), take, credits=100)
        load = Load(posting)
        running = asyncio.create_task(load.run())
        for _ in range(2):
            enough = len(load.stored) + 200
            await eventually(lambda enough=enough: len(load.stored) > enough, timeout_s=10)
            await server.restart()
        enough = len(load.stored) + 200
        await eventually(lambda: len(load.stored) > enough, timeout_s=10)
        running.cancel()
        await eventually(lambda: load.stored <= seen.keys(), timeout_s=10)


async def test_memory_streams_are_declared_again_by_whoever_is_back_first(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        restored = asyncio.Event()

        async def note() -> None:
            restored.set()

        bus.link.on_restored(note)
        await server.restart()
        async with asyncio.timeout(10):
            await restored.wait()
        assert (await (await bus.queue.post(bus.subjects.work("ns", "p"), b"", message_id="a"))).stream == "WORK"


async def test_a_consumer_deleted_by_somebody_is_made_again(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        seen: list[Delivery] = []

        async def take(delivery: Delivery) -> None:
            seen.append(delivery)

        await bus.queue.consume(requests(bus), take, credits=10)
        assert isinstance(bus.link, Connection)
        for round_ in range(1, 4):
            await bus.link.api.call("CONSUMER.DELETE.REQUESTS.d-1")
            message_id = f"m{round_}"
            await (await bus.queue.post(bus.subjects.infer("ns", "ms", 0, "t"), b"", message_id=message_id))
            await eventually(lambda message_id=message_id: message_id in [d.message_id for d in seen], timeout_s=10)


async def test_a_consumer_deleted_while_no_credit_was_left_is_made_again(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        seen: list[Delivery] = []

        async def take(delivery: Delivery) -> None:
            seen.append(delivery)

        consumption = await bus.queue.consume(requests(bus), take, credits=0)
        assert isinstance(bus.link, Connection)
        await bus.link.api.call("CONSUMER.DELETE.REQUESTS.d-1")
        await (await bus.queue.post(bus.subjects.infer("ns", "ms", 0, "t"), b"", message_id="m"))
        consumption.grant(1)
        await eventually(lambda: seen)


async def test_a_frozen_server_is_noticed_by_the_heartbeats_of_a_pull_and_read_from_when_it_thaws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("matrixinfer.bus.jetstream.longpull.HEARTBEAT_S", 0.2)
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        seen: list[Delivery] = []

        async def take(delivery: Delivery) -> None:
            seen.append(delivery)

        await bus.queue.consume(requests(bus), take, credits=2)
        server.pause()
        with caplog.at_level(logging.WARNING):
            await eventually(lambda: "no heartbeat" in caplog.text)
        server.resume()
        for n in range(3):
            await (await bus.queue.post(bus.subjects.infer("ns", "ms", 0, "t"), b"", message_id=f"m{n}"))
        await eventually(lambda: len(seen) == 2)
        backlog = await bus.queue.backlog(requests(bus))
        assert (backlog.waiting, backlog.unacknowledged) == (1, 2), "asking anew did not double the credits"


async def test_a_slow_handler_loses_its_own_messages_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("matrixinfer.bus.jetstream.signals.WAITING_LIMIT", 100)
    async with running_server(tmp_path) as server, connected(server.url) as bus, connected(server.url) as other:
        gate = asyncio.Event()
        slow: list[bytes] = []

        async def wait(signal: Signal) -> None:
            await gate.wait()
            slow.append(signal.data)

        async def echo(signal: Signal) -> None:
            await signal.respond(signal.data)

        await bus.signals.subscribe("mi.load.a.b", wait)
        await bus.signals.subscribe("mi.control.a.b", echo)
        for n in range(500):
            await other.signals.publish("mi.load.a.b", b"%d" % n)
        assert await other.signals.request("mi.control.a.b", b"alive", timeout_s=5.0) == b"alive"
        gate.set()
        await eventually(lambda: "messages were dropped in all" in caplog.text)
        assert slow[:100] == [b"%d" % n for n in range(100)]
        assert len(slow) < 500


async def test_an_error_from_the_server_ends_in_a_reconnect_and_not_for_good(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        assert isinstance(bus.link, Connection)
        before = bus.link.up_since()
        await bus.link.client._process_err("'maximum subscriptions exceeded'")
        await eventually(lambda: bus.link.is_up() and bus.link.up_since() != before)
        await eventually(lambda: bus.link.is_up())
        await (await bus.queue.post(bus.subjects.work("ns", "p"), b"", message_id="a"))


async def test_a_wrong_belief_about_the_servers_clock_ends_with_the_first_message_that_contradicts_it(
    tmp_path: Path,
) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        ages: list[float] = []

        async def take(delivery: Delivery) -> None:
            ages.append(delivery.age_s)

        assert isinstance(bus.link, Connection)
        clock = bus.link.server_clock
        clock.ahead_s -= 100.0
        await bus.queue.consume(requests(bus), take, credits=2)
        await (await bus.queue.post(bus.subjects.infer("ns", "ms", 0, "t"), b"", message_id="a"))
        await eventually(lambda: ages)
        assert ages == [0.0]
        await eventually(lambda: abs(clock.ahead_s) < 1.0)
