"""The door on the bus: requests on `mi.api.<tenant>.chat.completions` and `mi.api.<tenant>.completions`.

The message is the OpenAI JSON body, sent as a request (with a reply subject); the server's permissions decide who may
publish under which tenant. Without `"stream": true` one message comes back: the answer, or `{"error": {...}}`. With
it, messages of one or more whole server-sent events come, in order, and an empty message ends them; an error before
the first event is one message `{"error": {...}}` and nothing else, a later one is one more event
`data: {"error": {...}}`. One worker of the group `gateway` takes each request.
The message's headers are those of the HTTP door: `x-session-id`, `x-priority`, `x-request-timeout-s`, `traceparent`.
A client that stops listening is not noticed: its request ends by itself, or at its deadline.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import get_args

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ids import new_request_id
from matrixinfer.bus.ports import Signal, Subscription
from matrixinfer.gateway.doors.forms import error_body, error_event, failure_of
from matrixinfer.gateway.errors import BadRequest
from matrixinfer.gateway.metrics import Metrics
from matrixinfer.gateway.pipeline.intake import Ask, Intake
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.relay import Relay

log = logging.getLogger("matrixinfer.gateway.nats")

GROUP = "gateway"


class NatsDoor:
    def __init__(self, bus: Bus, intake: Intake, relay: Relay, metrics: Metrics, background: Background) -> None:
        self._bus = bus
        self._intake = intake
        self._relay = relay
        self._metrics = metrics
        self._background = background
        self._subscriptions: list[Subscription] = []
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """Take requests from now on."""
        for endpoint in get_args(Endpoint):
            subject = self._bus.subjects.api_filter(endpoint)
            asked = functools.partial(self._asked, endpoint)
            self._subscriptions.append(await self._bus.signals.subscribe(subject, asked, group=GROUP))

    async def close(self) -> None:
        """Take no more requests. Those in hand go on: see `wait_idle`."""
        while self._subscriptions:
            await self._subscriptions.pop().close()

    async def wait_idle(self) -> None:
        """Until every request in hand is answered."""
        await self._idle.wait()

    async def _asked(self, endpoint: Endpoint, signal: Signal) -> None:
        self._in_hand += 1
        self._idle.clear()
        self._background.spawn(self._answer(endpoint, signal), f"request on {signal.subject}")

    async def _answer(self, endpoint: Endpoint, signal: Signal) -> None:
        try:
            await self._serve(endpoint, signal)
        except BusError as error:
            log.warning("the answer to a request on %s could not be sent: %s", signal.subject, error)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def _serve(self, endpoint: Endpoint, signal: Signal) -> None:
        started_at = self._bus.clock.monotonic()
        try:
            tenant = self._tenant_of(signal.subject)
            exchange = await self._intake.begin(Ask(new_request_id(), endpoint, tenant, signal.headers, signal.data))
        except Exception as error:  # noqa: BLE001 - logged there, and answered
            refusal = failure_of(error)
            self._metrics.of(endpoint, "").ended(refusal.status, self._bus.clock.monotonic() - started_at, None)
            await signal.respond(error_body(refusal))
            return
        metrics = self._metrics.of(endpoint, exchange.envelope.model)
        try:
            failure = await (self._stream if exchange.envelope.stream else self._whole)(exchange, signal)
        finally:
            self._relay.forget(exchange)
        status = 200 if failure is None else failure.status
        metrics.ended(status, self._bus.clock.monotonic() - started_at, exchange.usage)

    async def _stream(self, exchange: Exchange, signal: Signal) -> Failure | None:
        data = await exchange.pull()
        ended, failure = exchange.ended, exchange.failure
        if not data and failure is not None:
            await signal.respond(error_body(failure))
            return failure
        while not ended:
            await signal.respond(data)
            data = await exchange.pull()
            ended, failure = exchange.ended, exchange.failure
        if failure is not None:
            data += error_event(failure)
        if data:
            await signal.respond(data)
        await signal.respond(b"")
        return failure

    async def _whole(self, exchange: Exchange, signal: Signal) -> Failure | None:
        data = await exchange.pull_all()
        failure = exchange.failure
        await signal.respond(data if failure is None else error_body(failure))
        return failure

    def _tenant_of(self, subject: str) -> str:
        """Raises BadRequest for a token that stands for no tenant: two spellings would be two queues of one tenant."""
        try:
            return self._bus.subjects.parse_api(subject).tenant
        except Malformed as error:
            raise BadRequest(f"the tenant in the subject cannot be read: {error}", code="invalid_subject") from error
