"""A long-standing pull with credits: overlapping requests, idle heartbeats, recovery from all that can end one.

Delivered messages carry their stream subject, not the request's inbox, so what was asked for is counted as a total;
each request that ends unserved gives its rest back in Nats-Pending-Messages. When the count may be wrong (missed
heartbeats, a reconnect) the inbox is left for a new one, on which everything is asked for again; what still comes
over the old one is taken while there are credits and given back otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import re

from matrixinfer.bus.background import spawn
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.inbox import Inbox
from matrixinfer.bus.jetstream.api import SECOND_NS
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.consumers import Consumers
from matrixinfer.bus.jetstream.delivery import ACK_PREFIX, JetStreamDelivery, nak
from matrixinfer.bus.ports.queue import Consumer, Delivery, DeliveryHandler

logger = logging.getLogger("matrixinfer.bus.jetstream.longpull")

MAX_BYTES = 16 * 1024 * 1024
EXPIRES_S = 30.0
HEARTBEAT_S = 1.0
"""A pull that meets the deletion of its consumer on the way is lost without a word: only the silence tells."""

SUCCESSOR_S = 0.5
"""How long a fenced consumer waits for its successor to appear before it takes the deletion for an accident."""

RECOVER_WITHIN_S = 2.0

_STATUS = slice(9, 12)
_PENDING = re.compile(rb"Nats-Pending-Messages: (\d+)")
_RETRY_S = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)


class LongPull:
    """Keeps the Consumption port."""

    def __init__(
        self, connection: Connection, consumers: Consumers, consumer: Consumer, handler: DeliveryHandler
    ) -> None:
        self._connection = connection
        self._client = connection.client
        self._clock = connection.clock
        self._consumers = consumers
        self._consumer = consumer
        self._inbox: Inbox[Delivery] = Inbox(handler, f"consumer {consumer.name}")
        self._loop = asyncio.get_running_loop()
        stream = connection.names.stream(consumer.stream)
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer.name}"
        self._credits = 0
        self._asked = 0
        self._heard_at = 0.0
        self._will_ask = False
        self._stopped = False
        self._sid = 0
        self._reply = ""
        self._recovering: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self, credits: int) -> None:
        """Raises Unavailable, Denied, Conflict, LeaseLost: the consumer cannot be had."""
        await self._consumers.open(self._consumer)
        self._connection.on_reconnect.append(self._after_reconnect)
        self._connection.on_close.append(self._end)
        self._renew_inbox()
        self._watching = spawn(self._watch(), f"watch over {self._consumer.name}")
        self.grant(credits)

    def grant(self, credits: int) -> None:
        self._credits += credits
        self._ask_soon()

    async def stop(self) -> None:
        if self._stopped:
            return
        await self._end()
        if self._client.is_connected:
            try:
                await self._connection.flush()  # what was on its way is here now, and went back
            except BusError as error:
                logger.debug("stopped %s over a broken connection: %s", self._consumer.name, error)
        self._client.unlisten(self._sid)

    async def _end(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._connection.on_reconnect.remove(self._after_reconnect)
        self._connection.on_close.remove(self._end)
        self._client.mute(self._sid)
        for task in (self._watching, self._recovering):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        for unread in self._inbox.close():
            await unread.nak()

    def _heard(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if not reply.startswith(ACK_PREFIX):
            self._ended(headers or b"")
            return
        if self._stopped or self._credits <= 0:
            self._client.write(nak(reply))
            return
        self._heard_at = self._clock.monotonic()
        self._credits -= 1
        if self._asked:
            self._asked -= 1
        self._inbox.put(JetStreamDelivery(self._connection, subject, reply, data, headers or b""))
        if self._credits and not self._will_ask:
            self._ask_soon()

    def _ended(self, headers: bytes) -> None:
        """A status: a heartbeat, or the end of one request."""
        self._heard_at = self._clock.monotonic()
        status = headers[_STATUS]
        if status == b"100" or self._stopped:
            return
        if status == b"503" or b"Consumer Deleted" in headers or b"Consumer is push based" in headers:
            self._recover()
            return
        if status == b"400":
            logger.error("the server did not understand a pull of %s: %r", self._consumer.name, headers)
        pending = _PENDING.search(headers)
        self._asked = max(0, self._asked - int(pending[1])) if pending else 0
        self._ask_soon()

    def _ask_soon(self) -> None:
        """Once for all credits of this loop turn."""
        if not self._will_ask and not self._stopped:
            self._will_ask = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        """Ask for the missing when nothing is asked for, or less than is missing: so slots do not wait for a round
        trip, and thousands of credits cost few requests."""
        self._will_ask = False
        missing = self._credits - self._asked
        if missing <= 0 or missing < self._asked or self._stopped or self._recovering or not self._connection.is_up():
            return
        self._asked += missing
        body = b'{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}' % (
            missing,
            MAX_BYTES,
            EXPIRES_S * SECOND_NS,
            HEARTBEAT_S * SECOND_NS,
        )
        self._client.write(f"PUB {self._next} {self._reply} {len(body)}\r\n".encode(), body, b"\r\n")

    def _renew_inbox(self) -> None:
        """Leave what was asked for and ask anew. The old inbox is still heard, for what was on its way."""
        if self._sid:
            self._client.mute(self._sid)
            self._loop.call_later(EXPIRES_S, self._client.unlisten, self._sid)
        inbox = self._client.new_inbox()
        self._reply = inbox + ".p"
        self._sid = self._client.listen(inbox + ".*", self._heard)
        self._asked = 0
        self._heard_at = self._clock.monotonic()
        self._ask_soon()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_S)
            silent_s = self._clock.monotonic() - self._heard_at
            if self._asked and silent_s > 2.5 * HEARTBEAT_S and self._connection.is_up():
                logger.warning("consumer %s: no heartbeat for %.1f s, asking anew", self._consumer.name, silent_s)
                self._renew_inbox()

    async def _after_reconnect(self) -> None:
        """Returns when the consumer is there again, or will take longer than others should wait for."""
        if self._stopped:
            return  # meanwhile: others were told before
        if self._recovering is not None:
            self._recovering.cancel()
        self._recovering = spawn(self._reopen(deleted=False), f"recover {self._consumer.name}")
        await asyncio.wait([self._recovering], timeout=RECOVER_WITHIN_S)

    def _recover(self) -> None:
        if self._recovering is None and not self._stopped:
            self._recovering = spawn(self._reopen(deleted=True), f"recover {self._consumer.name}")

    async def _reopen(self, *, deleted: bool) -> None:
        """The consumer may be gone: for a successor (stop for good), with its stream, or by an accident."""
        attempt = 0
        while True:
            try:
                if await self._stop_when_superseded(deleted):
                    return
                await self._consumers.create(self._consumer)
                break
            except BusError as error:
                logger.warning("consumer %s cannot be made again yet: %s", self._consumer.name, error)
            except Exception:
                logger.exception("consumer %s cannot be made again yet", self._consumer.name)
            attempt += 1
            await self._clock.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
        self._recovering = None
        self._renew_inbox()

    async def _stop_when_superseded(self, deleted: bool) -> bool:
        if deleted and self._consumer.exclusive:
            await self._clock.sleep(SUCCESSOR_S)
        if not await self._consumers.is_superseded(self._consumer):
            return False
        logger.info("consumer %s has a successor: it stops", self._consumer.name)
        await self._end()
        return True
