"""The steps that every request takes, whatever door it came through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts.envelope import Endpoint, Envelope
from matrixinfer.bus.ids import new_request_id
from matrixinfer.gateway.errors import ShuttingDown
from matrixinfer.gateway.pipeline import body, limits
from matrixinfer.gateway.pipeline.chance import Rng
from matrixinfer.gateway.pipeline.publishing import Publisher
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.relay import Relay
from matrixinfer.gateway.serving import Serving
from matrixinfer.gateway.settings import GatewaySettings
from matrixinfer.gateway.tokenizing.measuring import Measuring

DEADLINE_HEADER = b"x-request-timeout-s"
SESSION_HEADER = b"x-session-id"
"""Requests with the same one are served in their order, and prefer the pod that served the last."""
PRIORITY_HEADER = b"x-priority"
"""A header and not the body's field `priority`: that one is the engine's, and to some of them less means sooner."""
PATHS: dict[Endpoint, str] = {"chat.completions": "/v1/chat/completions", "completions": "/v1/completions"}
"""What rules about the path are asked: that of the HTTP door, whatever door it was."""
LONGEST_TRACEPARENT = 256
LONGEST_SESSION = 128


class Ask(NamedTuple):
    """A request as a door got it. Header names are in lower case. `rid` is empty when the door has not made one."""

    rid: str
    endpoint: Endpoint
    tenant: str
    headers: Mapping[bytes, bytes]
    body: bytes


class Intake:
    """`closing` refuses what is new; what is in flight goes on."""

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Clock,
        serving: Serving,
        measuring: Measuring,
        publisher: Publisher,
        *,
        relay: Relay,
        rng: Rng,
    ) -> None:
        self.closing = False
        self._settings = settings
        self._clock = clock
        self._serving = serving
        self._measuring = measuring
        self._relay = relay
        self._publisher = publisher
        self._rng = rng

    async def begin(self, ask: Ask) -> Exchange:
        """Check, route and publish. The caller pulls the answer, and calls `Relay.forget` at the end, whatever
        happens. Raises ApiError."""
        if self.closing:
            raise ShuttingDown()
        limits.check_in_flight(len(self._relay) + self._measuring.waiting, self._settings.max_in_flight)
        limits.check_body(len(ask.body), self._settings.body_limit_bytes)
        envelope, attempts = await self._envelope(ask)
        now, limit = self._clock.monotonic(), self._settings.client_buffer_bytes
        exchange = Exchange(envelope, now, limit, self._relay.pace, attempts=attempts)
        self._relay.open(exchange)
        try:
            await self._publisher.publish(exchange)
        except BaseException:
            self._relay.forget(exchange)
            raise
        return exchange

    async def _envelope(self, ask: Ask) -> tuple[Envelope, int]:
        """What is published, and how often at most."""
        settings = self._settings
        asked = body.read(ask.body, ask.endpoint)
        session = ask.headers.get(SESSION_HEADER, b"")[:LONGEST_SESSION].decode("latin-1")
        whose = f"{ask.tenant}/{session}" if session else ""
        choice = self._serving.table.choose(
            asked.model, ask.headers, self._rng, path=PATHS[ask.endpoint], tenant=ask.tenant, session=whose
        )
        deadline_s = limits.deadline_s(
            ask.headers.get(DEADLINE_HEADER), choice.timeout_s, settings.default_deadline_s, settings.max_deadline_s
        )
        wanted = ask.headers.get(PRIORITY_HEADER)
        priority = limits.priority(wanted, settings.lowest_priority, settings.highest_priority)
        measured = await self._measuring.measure(asked, ask.endpoint, choice, len(ask.body))
        envelope = Envelope(
            rid=ask.rid or new_request_id(),
            tenant=ask.tenant,
            namespace=choice.namespace,
            modelserver=choice.modelserver,
            shard=choice.shard,
            gateway=self._relay.gateway,
            remaining_s=deadline_s,
            endpoint=ask.endpoint,
            model=asked.model,
            adapter=choice.adapter,
            stream=bool(asked.stream),
            priority=priority,
            session=session,
            traceparent=ask.headers.get(b"traceparent", b"")[:LONGEST_TRACEPARENT].decode("latin-1"),
            prompt_tokens=measured.tokens,
            max_tokens=asked.output_bound,
            block_hashes=measured.block_hashes,
            tokenized=measured.tokenized,
            body=body.with_model(ask.body, choice.rewrite_model) if choice.rewrite_model else ask.body,
        )
        return envelope, choice.attempts
