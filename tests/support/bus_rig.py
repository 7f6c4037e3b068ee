"""Both adapters behind one face: `rig` is the memory twin on a clock moved by hand, or a real server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.settings import BusSettings
from support.eventually import eventually
from support.nats import RunningServer, connected, running_server
from support.wire import Wire


class Rig(Protocol):
    """Two connections: `bus` can be cut off alone."""

    bus: Bus
    other: Bus
    settings: BusSettings

    async def until(self, predicate: Callable[[], object], *, within_s: float = 5.0) -> None:
        """Until `predicate`, or what it is awaited to, is true; else AssertionError."""
        ...

    async def hold(self, seconds: float) -> None:
        """Let time pass, to see that something does *not* happen."""
        ...

    async def cut(self) -> None: ...

    async def mend(self) -> None: ...

    async def lose_bucket(self, bucket: str) -> None:
        """Its stream is deleted and declared anew: empty, its revisions begin again."""
        ...

    async def bound(self, stream: str, max_bytes: int) -> None:
        """Make a stream small enough to be filled by a test."""
        ...

    async def restart(self) -> None:
        """The server dies and comes again, without its memory streams."""
        ...


class MemoryRig:
    def __init__(self) -> None:
        self._clock = ManualClock()
        self._broker = MemoryBroker(self._clock)
        self.bus = self._broker.connect()
        self.other = self._broker.connect()
        self.settings = BusSettings()

    async def until(self, predicate: Callable[[], object], *, within_s: float = 5.0) -> None:
        deadline = self._clock.now() + within_s
        while self._clock.now() <= deadline:
            await self._clock.advance(0.01)
            value = predicate()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return
        raise AssertionError(f"not true within {within_s:g} s; last value: {value!r}")

    async def hold(self, seconds: float) -> None:
        await self._clock.advance(seconds)

    async def cut(self) -> None:
        self._broker.drop_connection(self.bus)

    async def mend(self) -> None:
        self._broker.restore_connection(self.bus)

    async def lose_bucket(self, bucket: str) -> None:
        self._broker.lose_bucket(bucket)

    async def bound(self, stream: str, max_bytes: int) -> None:
        self._broker.bound_stream(stream, max_bytes)

    async def restart(self) -> None:
        self._broker.restart(lose_memory_streams=True)


class ServerRig:
    def __init__(self, server: RunningServer, wire: Wire, bus: Bus, other: Bus) -> None:
        self._server = server
        self._wire = wire
        self.bus = bus
        self.other = other
        self.settings = BusSettings(url=server.url)

    async def until(self, predicate: Callable[[], object], *, within_s: float = 5.0) -> None:
        await eventually(predicate, timeout_s=within_s + 5.0, every_s=0.01)

    async def hold(self, seconds: float) -> None:
        await self.bus.clock.sleep(seconds)

    async def cut(self) -> None:
        await self._wire.cut()
        await eventually(lambda: not self.bus.link.is_up())

    async def mend(self) -> None:
        await self._wire.mend()

    async def lose_bucket(self, bucket: str) -> None:
        connection = self.other.link
        assert isinstance(connection, Connection)
        await connection.api.call(f"STREAM.DELETE.{connection.names.bucket_stream(bucket)}")
        await connection.prepare()

    async def bound(self, stream: str, max_bytes: int) -> None:
        await bound_stream(self.other, stream, max_bytes)

    async def restart(self) -> None:
        await self._server.restart()
        await eventually(lambda: self.bus.link.is_up() and self.other.link.is_up(), timeout_s=10.0)


async def bound_stream(bus: Bus, stream: str, max_bytes: int) -> None:
    """On a server: until the topology is declared the next time."""
    connection = bus.link
    assert isinstance(connection, Connection)
    name = connection.names.stream(stream)
    config = (await connection.api.call(f"STREAM.INFO.{name}"))["config"]
    await connection.api.call(f"STREAM.UPDATE.{name}", {**config, "max_bytes": max_bytes})


@contextlib.asynccontextmanager
async def server_rig(folder: Path) -> AsyncIterator[ServerRig]:
    """`bus` is connected through a wire that can be cut, `other` directly."""
    async with running_server(folder) as server:
        wire = Wire(server.port)
        await wire.mend()
        through_wire = server.url.replace(f":{server.port}", f":{wire.port}")
        async with connected(server.url) as other, connected(through_wire, request_timeout_s=2.0) as bus:
            yield ServerRig(server, wire, bus, other)
        await wire.cut()
