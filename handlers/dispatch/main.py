"""Builds and runs dispatch: the queue and the scheduling plug-ins are chosen here."""

from __future__ import annotations

import asyncio
import logging
import time
from random import Random

from matrixinfer.bus.bus import Bus
from matrixinfer.handlers.dispatch.cache_index.sent_prompts import SentPrompts
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.dispatcher import Dispatcher
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.scheduling.live import LiveScheduler
from matrixinfer.handlers.dispatch.scheduling.port import Knowledge
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import installed
from matrixinfer.handlers.dispatch.scheduling.runtime import Surroundings
from matrixinfer.handlers.dispatch.scheduling.witness import Witness
from matrixinfer.handlers.dispatch.settings import DispatchSettings

logger = logging.getLogger("matrixinfer.dispatch.scheduling")


async def run(settings: DispatchSettings, bus: Bus, stop: asyncio.Event) -> None:
    """Dispatch until `stop` is set; returns when all is handed over. Raises when it cannot go on."""
    plugins = installed()

    def new_scheduler(caches: ToldCaches) -> LiveScheduler:
        sent = SentPrompts()
        knowledge = Knowledge(exact=caches, approximate=sent)
        witness = Witness()
        surroundings = Surroundings(time.perf_counter, logger.warning, knowledge, settings.candidates, witness)
        return LiveScheduler(lambda profile: compile_profile(profile, plugins, surroundings), on_pods=sent.retain)

    await Dispatcher(settings, bus, FairQueue, new_scheduler, Random()).run(stop)
