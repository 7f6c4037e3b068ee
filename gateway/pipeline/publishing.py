"""Putting a request on the bus, and what the bus's answer means for the client."""

from __future__ import annotations

import asyncio
import functools
import logging

from msgspec import structs

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.errors import BusError, Denied, QueueFull, TooLarge, Unavailable
from matrixinfer.bus.ids import request_message_id
from matrixinfer.bus.ports import Stored
from matrixinfer.gateway.errors import ApiError, BodyTooLarge, BusUnavailable, InternalError, QueueIsFull
from matrixinfer.gateway.pipeline.bodies import Bodies
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.relay import Relay

log = logging.getLogger("matrixinfer.gateway.publishing")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0


def explain(error: BaseException) -> ApiError:
    """The bus's refusal in the client's terms."""
    if isinstance(error, QueueFull):
        return QueueIsFull("too many of your requests wait for this model; try again later", retry_after_s=1.0)
    if isinstance(error, TooLarge):
        return BodyTooLarge("the request is larger than the bus takes")
    if isinstance(error, Unavailable):
        return BusUnavailable("the request could not be queued; try again soon", retry_after_s=2.0)
    if isinstance(error, Denied):
        return InternalError("this gateway may not publish the request: its bus permissions are wrong")
    return InternalError("the request could not be queued")


class Publisher:
    """Posts without waiting for the answer; a refusal ends the exchange, silence is tried again with the same id."""

    def __init__(self, bus: Bus, relay: Relay, bodies: Bodies, background: Background, patience_s: float) -> None:
        self._bus = bus
        self._relay = relay
        self._bodies = bodies
        self._background = background
        self._patience_s = patience_s

    async def publish(self, exchange: Exchange) -> None:
        """Send the first attempt; waits only for the storing of a large body. Never raises for what the bus says: the
        exchange fails instead."""
        started_at = self._bus.clock.monotonic()
        await self._post(exchange, started_at, FIRST_PAUSE_S)

    async def republish(self, exchange: Exchange) -> None:
        """Send it again as the next attempt: for a request that nobody knows."""
        now = self._bus.clock.monotonic()
        envelope = exchange.envelope
        exchange.envelope = structs.replace(
            envelope, attempt=envelope.attempt + 1, remaining_s=exchange.remaining_s(now)
        )
        exchange.accepted = False
        await self._post(exchange, now, FIRST_PAUSE_S)

    async def _post(self, exchange: Exchange, started_at: float, pause_s: float) -> None:
        try:
            envelope = await self._bodies.lifted(exchange)
            if exchange.ended:
                return  # while its body was being stored
            answer = await self._send(envelope)
        except ApiError as error:
            self._relay.fail(exchange, error.failure())
        except BusError as error:
            self._refused(exchange, error, started_at, pause_s)
        else:
            answer.add_done_callback(functools.partial(self._answered, exchange, started_at, pause_s))

    async def _send(self, envelope: Envelope) -> asyncio.Future[Stored]:
        subject = self._bus.subjects.infer(envelope.namespace, envelope.modelserver, envelope.shard, envelope.tenant)
        message_id = request_message_id(envelope.rid, envelope.attempt)
        ttl_s = max(1.0, envelope.remaining_s)
        return await self._bus.queue.post(subject, encode(envelope), message_id=message_id, ttl_s=ttl_s)

    def _answered(self, exchange: Exchange, started_at: float, pause_s: float, answer: asyncio.Future[Stored]) -> None:
        error = Unavailable("the connection was closed") if answer.cancelled() else answer.exception()
        if error is None:
            exchange.accepted = True
            exchange.silence.heard(self._bus.clock.monotonic())
        else:
            self._refused(exchange, error, started_at, pause_s)

    def _refused(self, exchange: Exchange, error: BaseException, started_at: float, pause_s: float) -> None:
        if exchange.ended or exchange.binding.source is not None:
            return  # it was stored after all: its answer is coming in
        if not isinstance(error, BusError):
            log.error("posting request %s failed", exchange.rid, exc_info=error)
        waited_s = self._bus.clock.monotonic() - started_at
        if isinstance(error, Unavailable) and waited_s + pause_s <= self._patience_s:
            self._background.spawn(self._try_again(exchange, started_at, pause_s), f"post of {exchange.rid}")
        else:
            self._relay.fail(exchange, explain(error).failure())

    async def _try_again(self, exchange: Exchange, started_at: float, pause_s: float) -> None:
        await self._bus.clock.sleep(pause_s)
        if not exchange.ended:
            await self._post(exchange, started_at, min(2 * pause_s, LONGEST_PAUSE_S))
