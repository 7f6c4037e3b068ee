"""The address of one worker alone, beside the port that it may share: whoever asks there knows who answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from matrixinfer.bus.background import end, spawn
from matrixinfer.bus.clock import Clock
from matrixinfer.gateway.listener import LAST_RESORT_S, http_server, listen_alone, url_of
from matrixinfer.gateway.settings import GatewaySettings

log = logging.getLogger("matrixinfer.gateway.own_address")


@asynccontextmanager
async def own_address(app: ASGIApp, settings: GatewaySettings, clock: Clock) -> AsyncIterator[None]:
    """Serve `app` on `metrics_port` while this lasts, also while the worker starts and drains; nothing without a port.

    Raises PortTaken, StartError.
    """
    if settings.metrics_port is None:
        yield
        return
    server = http_server(app, settings, clock)
    with listen_alone(settings, settings.metrics_port) as listener:
        serving = spawn(server.serve([listener]), "serve the worker's own address")
        log.info("metrics and health of this worker alone: %s", url_of(listener))
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait({serving}, timeout=LAST_RESORT_S)
            await end({serving})
