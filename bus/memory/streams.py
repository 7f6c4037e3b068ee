"""All streams of the broker, and the hand-over of their messages to readers that have credits."""

from __future__ import annotations

import math
from typing import Protocol

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import Malformed, Unavailable
from matrixinfer.bus.memory.consumer import ConsumerState
from matrixinfer.bus.memory.matching import matches
from matrixinfer.bus.memory.stream import Message, StreamState
from matrixinfer.bus.memory.timers import Timers
from matrixinfer.bus.ports.queue import Backlog, Consumer, Stored
from matrixinfer.bus.topology import STREAMS, Retention, Storage


class Reader(Protocol):
    """Somebody who pulls from a durable consumer."""

    def can_take(self) -> bool: ...

    def take(self, message: Message, delivered: int) -> None: ...


class Streams:
    def __init__(self, clock: Clock, timers: Timers) -> None:
        self.clock = clock
        self.timers = timers
        self._streams: dict[tuple[str, str], StreamState] = {}
        self._readers: dict[ConsumerState, list[Reader]] = {}
        self._armed: set[ConsumerState] = set()

    def declare(self, prefix: str) -> None:
        for spec in STREAMS:
            subjects = tuple(f"{prefix}.{family}" for family in spec.subjects)
            self._streams.setdefault((prefix, spec.name), StreamState(spec, subjects))

    def get(self, prefix: str, name: str) -> StreamState:
        stream = self._streams.get((prefix, name))
        if stream is None:
            raise Malformed(f"there is no stream {name!r} in the topology")
        stream.expire(self.clock.monotonic())
        return stream

    def store(self, subject: str, data: bytes, message_id: str, ttl_s: float | None) -> Stored:
        stream = self._taking(subject)
        stored = stream.store(self.clock.monotonic(), subject, data, message_id, ttl_s)
        for consumer in list(stream.consumers.values()):
            if matches(consumer.spec.filter, subject):
                self.hand_out(stream, consumer)
        return stored

    def schedule(self, waiting: str, subject: str, data: bytes, after_s: float) -> Stored:
        """Keep the message under `waiting` until it is moved to `subject`, unless another took its place there."""
        stream = self._taking(subject)
        if not stream.spec.schedules or not stream.takes(waiting):
            raise Malformed(f"{stream.spec.name} cannot put a message on {subject!r} later: see the topology")
        stored = stream.store(self.clock.monotonic(), waiting, data, "", None)

        def move() -> None:
            if stream.remove(stored.sequence):
                self.store(subject, data, "", None)

        self.timers.at(self.clock.monotonic() + after_s, move)
        return stored

    def open(self, prefix: str, spec: Consumer, reader: Reader) -> tuple[StreamState, ConsumerState]:
        stream = self.get(prefix, spec.stream)
        since = spec.since
        if since is not None:
            since -= self.clock.now() - self.clock.monotonic()
        consumer = stream.open(spec, -math.inf if since is None else since)
        readers = self._readers.setdefault(consumer, [])
        if reader not in readers:
            readers.append(reader)
        for gone in [c for c in self._readers if c.deleted]:
            del self._readers[gone]
        return stream, consumer

    def leave(self, consumer: ConsumerState, reader: Reader) -> None:
        readers = self._readers.get(consumer, [])
        if reader in readers:
            readers.remove(reader)

    def hand_out(self, stream: StreamState, consumer: ConsumerState) -> None:
        """Give what is ready to the readers with credits, in turn."""
        stream.expire(self.clock.monotonic())
        readers = self._readers.get(consumer, [])
        while not consumer.deleted:
            reader = next((r for r in readers if r.can_take()), None)
            if reader is None:
                break
            taken = consumer.take(self.clock.monotonic())
            if taken is None:
                break
            sequence, count = taken
            message = stream.messages.get(sequence)
            if message is None:
                consumer.forget(sequence)
                continue
            readers.remove(reader)
            readers.append(reader)
            reader.take(message, count)
        self._arm(stream, consumer)

    def backlog(self, prefix: str, spec: Consumer) -> Backlog:
        stream = self.get(prefix, spec.stream)
        consumer = stream.consumers.get(spec.name)
        all_of_it = sum(1 for m in stream.messages.values() if matches(spec.filter, m.subject))
        in_hand = len(consumer.in_hand) if consumer is not None else 0
        if consumer is not None and stream.spec.retention is Retention.LIMITS:  # what was read is kept
            return Backlog(sum(1 for sequence in consumer.ready if sequence in stream.messages), in_hand)
        return Backlog(waiting=all_of_it - in_hand, unacknowledged=in_hand)

    def restart(self, *, lose_memory_streams: bool) -> None:
        for (prefix, name), stream in list(self._streams.items()):
            stream.restart()
            if lose_memory_streams and stream.spec.storage is Storage.MEMORY:
                for consumer in list(stream.consumers.values()):
                    stream.close(consumer)
                self._streams[(prefix, name)] = StreamState(stream.spec, stream.subjects)

    def lose(self, prefix: str, name: str) -> None:
        stream = self._streams[prefix, name]
        self._streams[prefix, name] = StreamState(stream.spec, stream.subjects)

    def _taking(self, subject: str) -> StreamState:
        for stream in self._streams.values():
            if stream.takes(subject):
                return stream
        raise Unavailable(f"no stream of the server takes {subject!r}")

    def _arm(self, stream: StreamState, consumer: ConsumerState) -> None:
        deadline = consumer.next_deadline()
        if deadline is None or consumer.deleted or consumer in self._armed:
            return
        self._armed.add(consumer)

        def overdue() -> None:
            self._armed.discard(consumer)
            consumer.put_back_overdue(self.clock.monotonic())
            self.hand_out(stream, consumer)

        self.timers.at(deadline, overdue)
