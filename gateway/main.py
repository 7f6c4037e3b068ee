"""Builds a gateway worker out of its parts and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from random import Random

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.ids import new_gateway_id
from matrixinfer.gateway.app import App
from matrixinfer.gateway.doors.http import HttpDoor
from matrixinfer.gateway.doors.nats import NatsDoor
from matrixinfer.gateway.doors.pages import Pages
from matrixinfer.gateway.errors import ShuttingDown
from matrixinfer.gateway.listener import LAST_RESORT_S, Server, http_server, listen, url_of
from matrixinfer.gateway.metrics import Metrics
from matrixinfer.gateway.own_address import own_address
from matrixinfer.gateway.pipeline.bodies import Bodies
from matrixinfer.gateway.pipeline.intake import Intake
from matrixinfer.gateway.pipeline.publishing import Publisher
from matrixinfer.gateway.relay.questions import Questions
from matrixinfer.gateway.relay.relay import Relay
from matrixinfer.gateway.relay.watchdog import Watchdog
from matrixinfer.gateway.serving import Serving
from matrixinfer.gateway.settings import GatewaySettings
from matrixinfer.gateway.tokenizing.encoders import Encoders
from matrixinfer.gateway.tokenizing.measuring import Measuring

log = logging.getLogger("matrixinfer.gateway.main")

TOKENIZERS_WITHIN_S = 10.0
"""How long a start waits for them: a volume may hang, and they are not necessary."""

OnListening = Callable[[str], None]


async def serve(
    settings: GatewaySettings, bus: Bus, stop: asyncio.Event, *, on_listening: OnListening | None = None
) -> None:
    """Serve until `stop` is set and what was in flight has ended. Raises StartError when it cannot listen.

    `on_listening` is told the base URL when requests are taken. A background part that dies ends the worker with
    its error: a worker that has lost a part would hold its clients in vain.
    """
    worker = Worker(settings, bus)
    async with own_address(worker.pages.worker_app(), settings, bus.clock):
        await _serve_door(worker, settings, stop, on_listening)


async def _serve_door(
    worker: Worker, settings: GatewaySettings, stop: asyncio.Event, on_listening: OnListening | None
) -> None:
    with listen(settings) as listener:
        try:
            await worker.start()
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(worker.serving.run()), group.create_task(worker.watchdog.run())]
                await worker.run(listener, stop, on_listening)
                for part in parts:
                    part.cancel()
        finally:
            await worker.close()


class Worker:
    """The parts of one gateway, wired."""

    def __init__(self, settings: GatewaySettings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self._background = Background()
        self.relay = Relay(bus, new_gateway_id(), self._background)
        bodies = Bodies(bus, self.relay, settings.inline_body_bytes)
        publisher = Publisher(bus, self.relay, bodies, self._background, settings.post_patience_s)
        questions = Questions(bus, self.relay, publisher.republish)
        self.watchdog = Watchdog(bus, self.relay, questions, self._background)
        metrics = Metrics(in_flight=lambda: len(self.relay), worker=settings.worker or self.relay.gateway)
        self._encoders = Encoders(bus.clock, self._background, metrics)
        self.serving = Serving(bus, self._encoders.follow)
        self._measuring = Measuring(settings, self._encoders, metrics)
        self.intake = Intake(
            settings, bus.clock, self.serving, self._measuring, publisher, relay=self.relay, rng=Random()
        )
        self.pages = Pages(self.serving, metrics, self._why_not_ready)
        door = HttpDoor(settings, bus.clock, self.intake, self.relay, metrics)
        self._http: Server = http_server(App(door, self.pages.app()), settings, bus.clock, metrics.refused)
        self._nats = NatsDoor(bus, self.intake, self.relay, metrics, self._background)

    async def start(self) -> None:
        """Hear frames, know the routes and have the tokenizers, before any request is taken."""
        await self.relay.start()
        await self.serving.start()
        await self._encoders.settle(TOKENIZERS_WITHIN_S)

    async def run(self, listener: socket.socket, stop: asyncio.Event, on_listening: OnListening | None) -> None:
        """Take requests until `stop`; then take no more, and return when those in flight have ended."""
        http = asyncio.create_task(self._http.serve([listener]), name="http server")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            if self._settings.nats_door:
                await self._nats.open()
            self._tell(listener, on_listening)
            await asyncio.wait({http, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(http)
        finally:
            stopping.cancel()
            await self._leave(http)

    async def close(self) -> None:
        await self._nats.close()
        await self.serving.close()
        await self.relay.close()
        self._measuring.close()
        await self._background.close()

    async def _drain(self, http: asyncio.Task[None]) -> None:
        self.intake.closing = True
        await self._nats.close()
        self._http.should_exit = True
        log.info("gateway %s stops: %d requests in flight", self.relay.gateway, len(self.relay))
        idle = asyncio.create_task(self._nats.wait_idle(), name="nats door idle")
        _, late = await asyncio.wait({http, idle}, timeout=self._settings.drain_s)
        if late:
            self._end_all()
        await http
        await idle

    async def _leave(self, http: asyncio.Task[None]) -> None:
        """After a drain nothing is left to do; else (a part died, the worker was cancelled) end everything now."""
        self.intake.closing = self._http.should_exit = True
        self._end_all()
        await asyncio.wait({http}, timeout=LAST_RESORT_S)
        http.cancel()
        await asyncio.gather(http, return_exceptions=True)

    def _end_all(self) -> None:
        for exchange in self.relay:
            self.relay.fail(exchange, ShuttingDown().failure())

    def _tell(self, listener: socket.socket, on_listening: OnListening | None) -> None:
        url = url_of(listener)
        log.info("gateway %s listens on %s", self.relay.gateway, url)
        if on_listening is not None:
            on_listening(url)

    def _why_not_ready(self) -> str:
        if self.intake.closing:
            return "shutting down"
        if not self._bus.link.is_up():
            return "the connection to the bus is down"
        return "" if self.serving.is_primed() else "the routes have not been read yet"
