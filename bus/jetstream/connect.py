"""From settings to a Bus: connects, checks the server, declares the topology, builds the adapters."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.jetstream.blobs import JetStreamBlobs
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.declare import check_level, find_drift
from matrixinfer.bus.jetstream.queue import JetStreamQueue
from matrixinfer.bus.jetstream.signals import NatsSignals
from matrixinfer.bus.jetstream.stock import Stock, take_stock
from matrixinfer.bus.jetstream.store import JetStreamStore
from matrixinfer.bus.ports.store import Store
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.store_leases import StoreLeases
from matrixinfer.bus.subjects import Subjects
from matrixinfer.bus.topology import BUCKETS


async def connect(settings: BusSettings, clock: Clock, *, declare: bool = True) -> Bus:
    """A Bus on the server of `settings`, with the topology declared.

    Without `declare` the topology is left as it is found: for short visits that shall change nothing by looking.

    Raises Unavailable (no server), Incompatible (too old, or without JetStream), Denied (the user may not).
    """
    connection = Connection(settings, clock)
    await connection.open()
    try:
        if declare:
            await connection.prepare()
        else:
            check_level(await connection.api.call("INFO"))
    except BaseException:
        await connection.close()
        raise
    return _bus(connection)


async def drift(settings: BusSettings, clock: Clock) -> list[str]:
    """How the server differs from the topology, a line for each difference; changes nothing."""
    async with _visiting(settings, clock) as connection:
        return await find_drift(connection.api, connection.names, settings.replicas)


async def stock(settings: BusSettings, clock: Clock) -> Stock:
    """What waits in REQUESTS and lies in DEAD; takes nothing."""
    async with _visiting(settings, clock) as connection:
        return await take_stock(connection.api, connection.names)


@contextlib.asynccontextmanager
async def _visiting(settings: BusSettings, clock: Clock) -> AsyncIterator[Connection]:
    connection = Connection(settings, clock)
    await connection.open()
    try:
        check_level(await connection.api.call("INFO"))
        yield connection
    finally:
        await connection.close()


def _bus(connection: Connection) -> Bus:
    subjects = Subjects(connection.settings.prefix)
    specs = {spec.name: spec for spec in BUCKETS}
    stores: dict[str, JetStreamStore] = {}

    def store(bucket: str) -> Store:
        if bucket not in specs:
            raise Malformed(f"there is no bucket {bucket!r} in the topology; there are {', '.join(specs)}")
        if bucket not in stores:
            stores[bucket] = JetStreamStore(connection, specs[bucket])
        return stores[bucket]

    queue = JetStreamQueue(connection, subjects)
    return Bus(
        subjects=subjects,
        clock=connection.clock,
        link=connection,
        queue=queue,
        signals=NatsSignals(connection),
        blobs=JetStreamBlobs(connection, subjects, queue),
        leases=StoreLeases(store("LEASES"), connection.clock),
        store=store,
    )
