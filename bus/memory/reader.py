"""One `consume` of the memory twin, and the deliveries it hands to its handler."""

from __future__ import annotations

from matrixinfer.bus.errors import BusError
from matrixinfer.bus.inbox import Inbox
from matrixinfer.bus.memory.consumer import ConsumerState
from matrixinfer.bus.memory.link import MemoryLink
from matrixinfer.bus.memory.stream import Message, StreamState
from matrixinfer.bus.memory.streams import Streams
from matrixinfer.bus.ports.queue import Consumer, Delivery, DeliveryHandler


class MemoryDelivery:
    __slots__ = ("_consumption", "_place", "_sequence", "age_s", "data", "delivered", "message_id", "subject")

    def __init__(self, message: Message, delivered: int, age_s: float, consumption: MemoryConsumption) -> None:
        self.subject = message.subject
        self.data = message.data
        self.message_id = message.message_id
        self.delivered = delivered
        self.age_s = age_s
        self._sequence = message.sequence
        self._consumption = consumption
        self._place = consumption.place

    async def ack(self) -> None:
        stream, consumer = self._place
        self._consumption.verdict(consumer, lambda: stream.acknowledge(consumer, self._sequence))

    async def nak(self) -> None:
        _, consumer = self._place
        self._consumption.verdict(consumer, lambda: consumer.put_back(self._sequence))

    async def in_progress(self) -> None:
        _, consumer = self._place
        self._consumption.verdict(consumer, lambda: self._consumption.extend(consumer, self._sequence))


class MemoryConsumption:
    place: tuple[StreamState, ConsumerState]

    def __init__(
        self, streams: Streams, link: MemoryLink, prefix: str, spec: Consumer, handler: DeliveryHandler
    ) -> None:
        self._streams = streams
        self._link = link
        self._prefix = prefix
        self._spec = spec
        self._credits = 0
        self._stopped = False
        self._inbox: Inbox[Delivery] = Inbox(handler, f"consumer {spec.name}")

    def open(self) -> None:
        self.place = self._streams.open(self._prefix, self._spec, self)
        self._link.on_up.append(self._reopen)
        self._link.on_close.append(self._end)

    def grant(self, credits: int) -> None:
        self._credits += credits
        if not self._stopped:
            self._streams.hand_out(*self.place)

    async def stop(self) -> None:
        for unread in self._leave():
            await unread.nak()

    def can_take(self) -> bool:
        return self._credits > 0 and not self._stopped and self._link.is_up()

    def take(self, message: Message, delivered: int) -> None:
        self._credits -= 1
        age_s = max(0.0, self._streams.clock.monotonic() - message.stored_at)
        self._inbox.put(MemoryDelivery(message, delivered, age_s, self))

    def verdict(self, consumer: ConsumerState, action: object) -> None:
        """Sent, not confirmed; a deleted consumer's has no effect."""
        assert callable(action)

        def apply() -> None:
            if not consumer.deleted:
                action()
                self._streams.hand_out(self.place[0], consumer)

        self._link.send(apply)

    def extend(self, consumer: ConsumerState, sequence: int) -> None:
        consumer.extend(sequence, self._streams.clock.monotonic())

    def _reopen(self) -> None:
        """After a reconnect: the consumer may be gone, with its stream or for a successor."""
        if self._stopped:
            return
        if self.place[1].superseded:
            self._leave()
            return
        try:
            self.place = self._streams.open(self._prefix, self._spec, self)
        except BusError:
            self._leave()
            raise
        self._streams.hand_out(*self.place)

    def _end(self) -> None:
        """The connection closed: what was unread comes again after `ack_wait_s`, as from a dead process."""
        self._leave()

    def _leave(self) -> list[Delivery]:
        if self._stopped:
            return []
        self._stopped = True
        self._streams.leave(self.place[1], self)
        if self._reopen in self._link.on_up:
            self._link.on_up.remove(self._reopen)
        return self._inbox.close()
