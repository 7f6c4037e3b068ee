"""The broker: what the connections share, and the failures that tests inject."""

from __future__ import annotations

import dataclasses

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.memory.blobs import MemoryBlobs
from matrixinfer.bus.memory.bucket import BucketState
from matrixinfer.bus.memory.link import MemoryLink
from matrixinfer.bus.memory.queue import MemoryQueue
from matrixinfer.bus.memory.signals import MemorySignals, SignalHub
from matrixinfer.bus.memory.store import MemoryStore
from matrixinfer.bus.memory.streams import Streams
from matrixinfer.bus.memory.timers import Timers
from matrixinfer.bus.ports.store import Store
from matrixinfer.bus.store_leases import StoreLeases
from matrixinfer.bus.subjects import Subjects
from matrixinfer.bus.topology import BUCKETS


class MemoryBroker:
    """A server in this process. Ages, times to live, schedules and redelivery go by `clock`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers = Timers(clock)
        self._streams = Streams(clock, self._timers)
        self._hub = SignalHub()
        self._buckets: dict[tuple[str, str], BucketState] = {}
        self._links: list[MemoryLink] = []

    def connect(self, prefix: str = "mi") -> Bus:
        """A new connection of its own to the installation `prefix`."""
        subjects = Subjects(prefix)
        self._streams.declare(prefix)
        for spec in BUCKETS:
            self._buckets.setdefault((prefix, spec.name), BucketState(spec))
        link = MemoryLink(self._clock)
        self._links.append(link)

        def store(bucket: str) -> Store:
            state = self._buckets.get((prefix, bucket))
            if state is None:
                raise Malformed(f"there is no bucket {bucket!r} in the topology")
            return MemoryStore(state, link, self._clock, self._timers)

        queue = MemoryQueue(self._streams, link, subjects)
        return Bus(
            subjects=subjects,
            clock=self._clock,
            link=link,
            queue=queue,
            signals=MemorySignals(self._hub, link, self._clock, self._timers),
            blobs=MemoryBlobs(self._streams, link, subjects, queue),
            leases=StoreLeases(store("LEASES"), self._clock),
            store=store,
        )

    def drop_connection(self, bus: Bus) -> None:
        """Cut the connection: nothing comes in, what is sent waits, what needs an answer raises Unavailable."""
        self._link(bus).drop()

    def restore_connection(self, bus: Bus) -> None:
        self._link(bus).restore()

    def restart(self, lose_memory_streams: bool = True) -> None:
        """The server dies and comes again at once; every connection that was up is broken and restored."""
        up = [link for link in self._links if link.is_up()]
        for link in up:
            link.drop()
        self._streams.restart(lose_memory_streams=lose_memory_streams)
        for link in up:
            link.restore()

    def lose_bucket(self, bucket: str, prefix: str = "mi") -> None:
        """Its stream was deleted and declared anew: empty, and its revisions begin again. Nobody is told."""
        self._buckets[prefix, bucket].lose()

    def bound_stream(self, stream: str, max_bytes: int, prefix: str = "mi") -> None:
        """As if the topology had said so."""
        state = self._streams.get(prefix, stream)
        state.spec = dataclasses.replace(state.spec, max_bytes=max_bytes)

    def lose_stream(self, stream: str, prefix: str = "mi") -> None:
        """It was deleted and declared anew: empty. Only for one that nobody consumes."""
        self._streams.lose(prefix, stream)

    def _link(self, bus: Bus) -> MemoryLink:
        if not isinstance(bus.link, MemoryLink):
            raise TypeError("this bus was not made by MemoryBroker.connect")
        return bus.link
