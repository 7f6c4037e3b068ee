"""How a process of a part runs: its loop, its log, its signals, its connection to the bus."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from matrixinfer.cli.errors import is_expected, readable

if TYPE_CHECKING:
    from matrixinfer.bus.bus import Bus
    from matrixinfer.bus.settings import BusSettings

logger = logging.getLogger("matrixinfer.cli.process")

Serve = Callable[["Bus", "BusSettings", asyncio.Event], Awaitable[None]]


def run_process(name: str, serve: Serve) -> None:
    """Connect to the bus as `name` and run `serve` until SIGTERM or SIGINT; a second signal ends the process at once.

    Ends the interpreter with code 1, after a log line (and a traceback when it is a bug), when `serve` fails.
    """
    set_up_logging()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(name, serve))
    except Exception as error:
        logger.critical("%s ends: %s", name, readable(error), exc_info=None if is_expected(error) else error)
        sys.exit(1)
    logger.info("%s has ended", name)


def set_up_logging() -> None:
    """One line an event on stderr: time, level, logger, message. `MATRIXINFER_LOG_LEVEL` chooses the level."""
    level = os.environ.get("MATRIXINFER_LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        sys.exit(f"MATRIXINFER_LOG_LEVEL is {level!r}: expected DEBUG, INFO, WARNING, ERROR or CRITICAL")
    logging.basicConfig(
        level=level,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s  %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )
    for library in ("httpx", "httpcore", "nats", "faststream"):
        logging.getLogger(library).setLevel(logging.WARNING)


async def _serve(name: str, serve: Serve) -> None:
    from matrixinfer.bus.clock import SystemClock
    from matrixinfer.bus.jetstream import connect
    from matrixinfer.bus.settings import BusSettings

    stop = asyncio.Event()
    heed_signals(stop)
    settings = BusSettings(name=name)
    bus = await connect(settings, SystemClock())
    relax_garbage_collection()
    logger.info("%s runs as process %d", name, os.getpid())
    try:
        await serve(bus, settings, stop)
    finally:
        await bus.link.close()


def relax_garbage_collection() -> None:
    """What is alive now, modules and codecs above all, lives as long as the process; requests die by reference counts.

    So the collector need not look at the former again, and seldom for cycles among the latter.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def heed_signals(stop: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT sets `stop`; the next one ends the process without further ado."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            logger.warning("second signal: leaving at once")
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on this platform
        return None
    return uvloop.new_event_loop
