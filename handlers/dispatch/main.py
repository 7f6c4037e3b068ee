"""Builds and runs dispatch: the queue and the scheduler are chosen here."""

from __future__ import annotations

import asyncio
from random import Random

from matrixinfer.bus.bus import Bus
from matrixinfer.handlers.dispatch.dispatcher import Dispatcher
from matrixinfer.handlers.dispatch.queue import FifoQueue
from matrixinfer.handlers.dispatch.scheduling.least_requests import LeastRequests
from matrixinfer.handlers.dispatch.settings import DispatchSettings


async def run(settings: DispatchSettings, bus: Bus, stop: asyncio.Event) -> None:
    """Dispatch until `stop` is set; returns when all is handed over. Raises when it cannot go on."""
    await Dispatcher(settings, bus, FifoQueue, LeastRequests(), Random()).run(stop)
