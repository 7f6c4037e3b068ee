"""One stream as the server keeps it: bounds, deduplication, ages. Takes the time as an argument."""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

from matrixinfer.bus.errors import Conflict, LeaseLost, QueueFull, TooLarge
from matrixinfer.bus.memory.consumer import ConsumerState
from matrixinfer.bus.memory.matching import matches, overlaps
from matrixinfer.bus.ports.queue import Consumer, Stored
from matrixinfer.bus.topology import Retention, Stream


@dataclass(frozen=True, slots=True)
class Message:
    sequence: int
    subject: str
    data: bytes
    message_id: str
    stored_at: float


class StreamState:
    """`name` and `subjects` are the server's: with the installation's prefix."""

    def __init__(self, spec: Stream, subjects: tuple[str, ...]) -> None:
        self.spec = spec
        self.subjects = subjects
        self.messages: dict[int, Message] = {}
        self.consumers: dict[str, ConsumerState] = {}
        self._of_subject: dict[str, dict[int, None]] = {}
        self._expiries: list[tuple[float, int]] = []
        self._ids: dict[str, int] = {}
        self._id_expiries: deque[tuple[float, str]] = deque()
        self._bytes = 0
        self._last = 0

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.subjects)

    def store(self, now: float, subject: str, data: bytes, message_id: str, ttl_s: float | None) -> Stored:
        """Raises QueueFull and TooLarge. A duplicate is found before any bound is looked at, as the server does."""
        self.expire(now)
        if message_id in self._ids:
            return Stored(self.spec.name, self._ids[message_id], duplicate=True)
        self._make_room(subject, len(data))
        self._last += 1
        message = Message(self._last, subject, data, message_id, now)
        self.messages[message.sequence] = message
        self._of_subject.setdefault(subject, {})[message.sequence] = None
        self._bytes += len(data)
        self._remember(now, message, ttl_s)
        for consumer in self.consumers.values():
            if matches(consumer.spec.filter, subject):
                consumer.ready.append(message.sequence)
        return Stored(self.spec.name, message.sequence)

    def last(self, subject: str) -> Message | None:
        """The newest message of a subject."""
        of_subject = self._of_subject.get(subject)
        return self.messages[next(reversed(of_subject))] if of_subject else None

    def remove(self, sequence: int) -> bool:
        message = self.messages.pop(sequence, None)
        if message is None:
            return False
        of_subject = self._of_subject[message.subject]
        del of_subject[sequence]
        if not of_subject:
            del self._of_subject[message.subject]
        self._bytes -= len(message.data)
        for consumer in self.consumers.values():
            consumer.forget(sequence)
        return True

    def acknowledge(self, consumer: ConsumerState, sequence: int) -> None:
        if self.spec.retention is Retention.WORK_QUEUE:
            self.remove(sequence)
        else:
            consumer.forget(sequence)

    def expire(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            self.remove(heapq.heappop(self._expiries)[1])
        while self._id_expiries and self._id_expiries[0][0] <= now:
            del self._ids[self._id_expiries.popleft()[1]]

    def open(self, spec: Consumer, since: float = -math.inf) -> ConsumerState:
        """The durable consumer, made if needed, for what was stored at `since` or later. Raises Conflict when another
        reads the same messages."""
        if spec.exclusive:
            for other in [c for c in self.consumers.values() if c.spec.filter == spec.filter]:
                if other.spec.name != spec.name:
                    if other.spec.exclusive and other.spec.epoch > spec.epoch:
                        raise LeaseLost(f"consumer {spec.name!r}: {other.spec.name!r} of a later epoch reads already")
                    other.superseded = True
                    self.close(other)
        state = self.consumers.get(spec.name)
        if state is not None:
            state.spec = spec
            return state
        self._refuse_overlap(spec)
        state = ConsumerState(spec)
        state.ready.extend(
            m.sequence for m in self.messages.values() if matches(spec.filter, m.subject) and m.stored_at >= since
        )
        self.consumers[spec.name] = state
        return state

    def close(self, consumer: ConsumerState) -> None:
        consumer.deleted = True
        self.consumers.pop(consumer.spec.name, None)

    def restart(self) -> None:
        """The server came again: ids of messages that were acknowledged before are forgotten."""
        stored = {m.message_id for m in self.messages.values()}
        self._ids = {i: sequence for i, sequence in self._ids.items() if i in stored}
        self._id_expiries = deque((at, i) for at, i in self._id_expiries if i in stored)

    def _refuse_overlap(self, spec: Consumer) -> None:
        if self.spec.retention is not Retention.WORK_QUEUE:
            return
        for other in self.consumers.values():
            if overlaps(other.spec.filter, spec.filter):
                raise Conflict(
                    f"consumer {spec.name!r} of {self.spec.name} with filter {spec.filter!r} overlaps consumer "
                    f"{other.spec.name!r} with {other.spec.filter!r}: a work queue's message has one reader"
                )

    def _make_room(self, subject: str, size: int) -> None:
        if size > self.spec.max_message_bytes:
            raise TooLarge(f"{size} bytes for {subject}: {self.spec.name} takes {self.spec.max_message_bytes}")
        if size > self.spec.max_bytes:
            raise QueueFull(f"{size} bytes for {subject}: stream {self.spec.name} holds {self.spec.max_bytes} in all")
        of_subject = self._of_subject.get(subject, {})
        while self.spec.per_subject and len(of_subject) >= self.spec.per_subject:
            self._give_way(next(iter(of_subject)), f"{subject} holds {len(of_subject)} messages, its bound")
        while len(self.messages) >= self.spec.max_messages or self._bytes + size > self.spec.max_bytes:
            self._give_way(next(iter(self.messages)), f"stream {self.spec.name} is full")

    def _give_way(self, oldest: int, full: str) -> None:
        if self.spec.refuse_when_full:
            raise QueueFull(full)
        self.remove(oldest)

    def _remember(self, now: float, message: Message, ttl_s: float | None) -> None:
        lives_s = self.spec.max_age_s if ttl_s is None else min(self.spec.max_age_s, math.ceil(max(1.0, ttl_s)))
        heapq.heappush(self._expiries, (now + lives_s, message.sequence))
        if message.message_id:
            self._ids[message.message_id] = message.sequence
            self._id_expiries.append((now + self.spec.duplicate_window_s, message.message_id))
