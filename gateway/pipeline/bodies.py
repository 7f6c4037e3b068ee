"""Large bodies: stored on the bus before their envelope, deleted when their request is done.

In this order an envelope in REQUESTS always finds its body: a body that is not there was lost, and is not on its way.
"""

from __future__ import annotations

from msgspec import structs

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.errors import QueueFull
from matrixinfer.gateway.errors import Overloaded
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.relay import Relay

OUTLIVES_S = 5.0
"""How much longer than its request a body lives, should its gateway not delete it: the agent's clock may be behind."""


class Bodies:
    """Owns what it stored: who puts a body on the bus takes it away. A gateway that died leaves that to the deadline.

    Up to `inline_bytes` a body stays in its envelope.
    """

    def __init__(self, bus: Bus, relay: Relay, inline_bytes: int) -> None:
        self._bus = bus
        self._inline_bytes = inline_bytes
        self._stored: dict[str, int] = {}
        """The attempt for which each request's body was stored, 0 while it is not certain that it was. A request that
        the bus forgot is published anew, with its body."""
        relay.on_forgotten = self._drop

    async def lifted(self, exchange: Exchange) -> Envelope:
        """The envelope to publish; returns when a large body of it is stored. What ended meanwhile keeps nothing.

        Raises Overloaded when the bus holds as many bodies as it may, and otherwise what `Blobs.put` raises.
        """
        envelope = exchange.envelope
        if len(envelope.body) <= self._inline_bytes:
            return envelope
        reference = self._bus.subjects.body(envelope.namespace, envelope.modelserver, envelope.rid)
        if self._stored.get(envelope.rid) != envelope.attempt:
            await self._store(exchange, envelope, reference)
        return structs.replace(envelope, body=b"", body_ref=reference, body_bytes=len(envelope.body))

    async def _store(self, exchange: Exchange, envelope: Envelope, reference: str) -> None:
        ttl_s = max(0.0, envelope.remaining_s) + OUTLIVES_S
        self._stored.setdefault(envelope.rid, 0)
        try:
            await (await self._bus.blobs.put(reference, envelope.body, ttl_s=ttl_s))
            self._stored[envelope.rid] = envelope.attempt
        except QueueFull as error:
            text = "too many large requests are under way; try again later"
            raise Overloaded(text, retry_after_s=1.0) from error
        finally:
            if exchange.ended:
                self._drop(exchange)

    def _drop(self, exchange: Exchange) -> None:
        """Also what may have been stored: a put whose answer got lost."""
        if self._stored.pop(exchange.rid, None) is not None:
            envelope = exchange.envelope
            self._bus.blobs.remove(self._bus.subjects.body(envelope.namespace, envelope.modelserver, envelope.rid))
