"""Large bodies: stored on the bus before their envelope, deleted when their request is done.

In this order an envelope in REQUESTS always finds its body: a body that is not there was lost, and is not on its way.
"""

from __future__ import annotations

from msgspec import structs

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.errors import QueueFull
from matrixinfer.bus.ports import Stored
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
        self._stored: dict[tuple[str, int], Stored] = {}
        """By rid and attempt: a request that the bus forgot is published anew, with its body."""
        relay.on_forgotten = self._drop

    async def lifted(self, exchange: Exchange) -> Envelope:
        """The envelope to publish; returns when a large body of it is stored. What ended meanwhile keeps nothing.

        Raises Overloaded when the bus holds as many bodies as it may, and otherwise what `Blobs.put` raises.
        """
        envelope = exchange.envelope
        if len(envelope.body) <= self._inline_bytes:
            return envelope
        reference = self._bus.subjects.body(envelope.namespace, envelope.modelserver, envelope.rid)
        if (envelope.rid, envelope.attempt) not in self._stored:
            await self._store(exchange, envelope, reference)
        return structs.replace(envelope, body=b"", body_ref=reference, body_bytes=len(envelope.body))

    async def _store(self, exchange: Exchange, envelope: Envelope, reference: str) -> None:
        ttl_s = max(0.0, envelope.remaining_s) + OUTLIVES_S
        try:
            stored = await (await self._bus.blobs.put(reference, envelope.body, ttl_s=ttl_s))
        except QueueFull as error:
            text = "too many large requests are under way; try again later"
            raise Overloaded(text, retry_after_s=1.0) from error
        if exchange.ended:
            self._bus.blobs.remove(stored)
        else:
            self._stored[envelope.rid, envelope.attempt] = stored

    def _drop(self, exchange: Exchange) -> None:
        for attempt in range(1, exchange.envelope.attempt + 1):
            stored = self._stored.pop((exchange.rid, attempt), None)
            if stored is not None:
                self._bus.blobs.remove(stored)
