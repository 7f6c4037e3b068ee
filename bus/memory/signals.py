"""The memory twin of Signals: what core NATS does between the connections of one broker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import NobodyThere, TimedOut, TooLarge
from matrixinfer.bus.inbox import Inbox
from matrixinfer.bus.memory.link import MemoryLink
from matrixinfer.bus.memory.matching import matches
from matrixinfer.bus.memory.timers import Timers
from matrixinfer.bus.ports.signals import Signal, SignalHandler
from matrixinfer.bus.topology import MAX_PAYLOAD_BYTES


class MemorySignal:
    __slots__ = ("_reply", "data", "headers", "subject")

    def __init__(self, subject: str, data: bytes, reply: Callable[[bytes], None] | None) -> None:
        self.subject = subject
        self.data = data
        self._reply = reply
        self.headers: Mapping[bytes, bytes] = {}

    async def respond(self, data: bytes) -> None:
        if self._reply is not None:
            self._reply(data)


class MemorySubscription:
    def __init__(self, hub: SignalHub, link: MemoryLink, subject: str, handler: SignalHandler, group: str) -> None:
        self.link = link
        self.subject = subject
        self.group = group
        self.inbox: Inbox[Signal] = Inbox(handler, f"subscription {subject}")
        self._hub = hub

    async def close(self) -> None:
        self.inbox.close()
        self._hub.remove(self)


class SignalHub:
    """All subscriptions of the broker. A connection that is down hears nothing, and what it missed is lost."""

    def __init__(self) -> None:
        self._subscriptions: list[MemorySubscription] = []
        self._turn = itertools.count()

    def add(self, subscription: MemorySubscription) -> None:
        self._subscriptions.append(subscription)

    def remove(self, subscription: MemorySubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def publish(self, subject: str, data: bytes, reply: Callable[[bytes], None] | None = None) -> int:
        """Returns how many got it."""
        groups: dict[str, list[MemorySubscription]] = {}
        chosen: list[MemorySubscription] = []
        for s in self._subscriptions:
            if s.link.is_up() and matches(s.subject, subject):
                if s.group:
                    groups.setdefault(s.group, []).append(s)
                else:
                    chosen.append(s)
        chosen += [members[next(self._turn) % len(members)] for members in groups.values()]
        for s in chosen:
            s.inbox.put(MemorySignal(subject, data, _answering(s.link, reply)))
        return len(chosen)


class MemorySignals:
    def __init__(self, hub: SignalHub, link: MemoryLink, clock: Clock, timers: Timers) -> None:
        self._hub = hub
        self._link = link
        self._clock = clock
        self._timers = timers

    async def publish(self, subject: str, data: bytes) -> None:
        _check_size(subject, data)
        self._link.send(lambda: _drop_count(self._hub.publish(subject, data)))

    async def subscribe(self, subject: str, handler: SignalHandler, *, group: str = "") -> MemorySubscription:
        self._link.require()
        subscription = MemorySubscription(self._hub, self._link, subject, handler, group)
        self._hub.add(subscription)
        self._link.on_close.append(lambda: self._hub.remove(subscription))
        return subscription

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        _check_size(subject, data)
        self._link.require()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(answer: bytes) -> None:
            if not future.done() and self._link.is_up():
                future.set_result(answer)

        def too_late() -> None:
            if not future.done():
                future.set_exception(TimedOut(f"no answer on {subject!r} within {timeout_s:g} s"))

        if not self._hub.publish(subject, data, answered):
            raise NobodyThere(f"nobody subscribes to {subject!r}")
        self._timers.at(self._clock.monotonic() + timeout_s, too_late)
        return await future


def _answering(link: MemoryLink, reply: Callable[[bytes], None] | None) -> Callable[[bytes], None] | None:
    if reply is None:
        return None
    return lambda data: link.send(lambda: reply(data))


def _check_size(subject: str, data: bytes) -> None:
    if len(data) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"{len(data)} bytes for {subject}: the server takes {MAX_PAYLOAD_BYTES}")


def _drop_count(_count: int) -> None:
    """A plain publish does not tell how many heard it."""
