"""A FastStream application when its consumer or its server goes, and with the handlers' own rights."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from matrixinfer.bus.app import ControlApp, Duty, Patience
from matrixinfer.bus.app.duty import Desk
from matrixinfer.bus.app.over_faststream import Broker, FastStreamServer
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import Reject, Retry, Unavailable
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.ports import Consumer
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.subjects import RECONCILE_PARTITIONS
from matrixinfer.bus.topology import Part
from support.eventually import eventually
from support.nats import RunningServer, connected, running_server


class Counting:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, subject: str, data: bytes) -> None:
        self.seen.append(data.decode())
        if data.startswith(b"retry") and self.seen.count(data.decode()) == 1:
            raise Retry(0.2)
        if data.startswith(b"reject"):
            raise Reject("on purpose")


@contextlib.asynccontextmanager
async def serving(server: RunningServer, handler: Counting) -> AsyncIterator[Bus]:
    """All partitions, as the handlers serve them, with the handlers' rights."""
    settings = BusSettings(url=server.url_of(Part.HANDLERS))
    async with connected(settings.url) as bus:
        duties = [
            Duty(Consumer("RECONCILE", f"reconcile-{n}", bus.subjects.reconcile_filter(n), 5.0, 1), handler)
            for n in range(RECONCILE_PARTITIONS)
        ]
        task = asyncio.create_task(ControlApp(bus, settings, duties).run())
        try:
            yield bus
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])


@contextlib.asynccontextmanager
async def serving_faststream(server: RunningServer, handler: Counting) -> AsyncIterator[tuple[Bus, FastStreamServer]]:
    """One consumer, and FastStream itself within reach."""
    settings = BusSettings(url=server.url_of(Part.HANDLERS))
    async with connected(settings.url) as bus:
        duty = Duty(Consumer("RECONCILE", "recon", f"{bus.subjects.prefix}.reconcile.>", 5.0, 1), handler)
        app = FastStreamServer(bus, settings, [(duty, Desk(bus, duty, Patience()))])
        task = asyncio.create_task(app.run())
        try:
            yield bus, app
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def signal(bus: Bus, text: str) -> None:
    subject = bus.subjects.reconcile("Model", "ns", text)
    for attempt in range(200):
        try:
            await (await bus.queue.post(subject, text.encode(), message_id=text))
        except Unavailable:
            assert attempt < 199
            await asyncio.sleep(0.05)
        else:
            return


async def test_all_partitions_are_served_with_the_handlers_rights(tmp_path: Path) -> None:
    handler = Counting()
    async with running_server(tmp_path) as server, serving(server, handler) as bus:
        names = [f"m{n}" for n in range(40)]
        for name in [*names, "retry", "reject"]:
            await signal(bus, name)
        await eventually(lambda: len(handler.seen) == 43, timeout_s=10)
        assert sorted(handler.seen) == sorted([*names, "retry", "retry", "reject"])


async def test_the_end_of_faststreams_tasks_is_not_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    handler = Counting()
    async with running_server(tmp_path) as server, serving(server, handler) as bus:
        await signal(bus, "one")
        await eventually(lambda: handler.seen == ["one"], timeout_s=10)
    assert [each for each in caplog.messages if each.startswith("callback for")] == []


async def test_deleted_consumers_are_made_again(tmp_path: Path) -> None:
    handler = Counting()
    async with running_server(tmp_path) as server, serving(server, handler) as bus:
        await signal(bus, "before")
        await eventually(lambda: handler.seen == ["before"], timeout_s=10)
        assert isinstance(bus.link, Connection)
        for n in range(RECONCILE_PARTITIONS):
            await bus.link.api.call(f"CONSUMER.DELETE.RECONCILE.reconcile-{n}")
        await signal(bus, "after")
        await eventually(lambda: handler.seen == ["before", "after"], timeout_s=10)


async def test_a_restarted_server_is_served_again(tmp_path: Path) -> None:
    handler = Counting()
    async with running_server(tmp_path) as server, serving(server, handler) as bus:
        await signal(bus, "before")
        await eventually(lambda: handler.seen == ["before"], timeout_s=10)
        await server.restart()
        await signal(bus, "after")
        await eventually(lambda: handler.seen[-1] == "after", timeout_s=15)


async def test_an_error_from_the_server_does_not_end_faststreams_connection(tmp_path: Path) -> None:
    handler = Counting()
    async with running_server(tmp_path) as server, serving_faststream(server, handler) as (bus, app):
        await signal(bus, "before")
        await eventually(lambda: handler.seen == ["before"], timeout_s=10)
        assert app.broker is not None
        for error in ("'stale connection'", "'maximum subscriptions exceeded'"):
            await (await app.broker.connect())._process_err(error)
            await signal(bus, error.strip("'").replace(" ", "-"))
        await eventually(lambda: len(handler.seen) == 3, timeout_s=15)


async def test_faststream_is_started_anew_when_it_stopped_pulling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matrixinfer.bus.app.over_faststream.GUARD_EVERY_S", 0.2)
    handler = Counting()
    async with running_server(tmp_path) as server, serving_faststream(server, handler) as (bus, app):
        await signal(bus, "before")
        await eventually(lambda: handler.seen == ["before"], timeout_s=10)
        assert app.broker is not None
        for subscriber in app.broker.subscribers:
            await subscriber.stop()
        await signal(bus, "after")
        await eventually(lambda: handler.seen == ["before", "after"], timeout_s=15)


async def test_a_cancellation_that_faststream_swallows_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def start(_: Broker) -> None:
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(Broker, "start", start)
    async with running_server(tmp_path) as server, connected(server.url_of(Part.HANDLERS)) as bus:
        duty = Duty(Consumer("RECONCILE", "recon", f"{bus.subjects.prefix}.reconcile.>", 5.0, 1), Counting())
        serving = asyncio.create_task(ControlApp(bus, BusSettings(url=server.url_of(Part.HANDLERS)), [duty]).run())
        await started.wait()
        serving.cancel()
        done, _ = await asyncio.wait([serving], timeout=10)
        assert done
        assert serving.cancelled()
