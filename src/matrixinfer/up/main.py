"""Runs a platform from the first check to the last process: what `matrixinfer up` does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import uuid
from collections.abc import Coroutine
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import psutil

from matrixinfer import __version__
from matrixinfer.bus.clock import Clock, SystemClock
from matrixinfer.bus.settings import BusSettings
from matrixinfer.up import record, scraping
from matrixinfer.up.display import Display
from matrixinfer.up.folder import end_leftovers, held
from matrixinfer.up.greeting import greeting
from matrixinfer.up.house import House
from matrixinfer.up.listening import own_ports, reserve
from matrixinfer.up.options import Options
from matrixinfer.up.parts import MARKER, Ports
from matrixinfer.up.reaping import reaper

LOG_BYTES = 16 * 1024 * 1024


async def up(options: Options, display: Display) -> None:
    """Start the platform, say where it is, and keep it running until SIGINT, SIGTERM or SIGHUP.

    Raises UpError, and what the parts raise, when it cannot start, and KeyboardInterrupt when it is stopped before it
    serves; then everything was stopped again.
    """
    with held(options.data_dir):
        end_leftovers(options.data_dir)
        workers = options.gateways if options.gateways > 1 else 0
        with reserve(options.host, options.port) as holder, own_ports(options.host, workers) as metrics:
            ports = Ports(holder.getsockname()[1], metrics)
            _log_to(options.data_dir / "logs" / "up.log")
            marker = uuid.uuid4().hex
            clock = SystemClock()
            try:
                async with reaper(marker, clock, display.say):
                    os.environ[MARKER] = marker  # every child, and theirs, inherit it
                    await _run(options, ports, display, clock, marker)
            finally:
                record.remove(options.data_dir)
                scraping.remove_targets(options.data_dir)


async def _run(options: Options, ports: Ports, display: Display, clock: Clock, marker: str) -> None:
    def note(bus_url: str) -> None:
        record.write(options.data_dir, _record(house.url, bus_url, options.data_dir, marker))

    house = House(options, ports, display, clock, on_bus=note)
    scraping.write_targets(options.data_dir, house.worker_urls)
    note("")  # before anything starts: whoever comes after a crash must know the marker
    stop = asyncio.Event()
    _heed_signals(stop, house)
    try:
        with display.starting():
            started = await _until(stop, house, house.start())
        if not started:
            raise KeyboardInterrupt
        display.print(greeting(house, options.data_dir))
        await _until(stop, house, _for_ever())
    finally:
        await _stop(house, display, clock)


async def _until(stop: asyncio.Event, house: House, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work`; False when `stop` came first. Raises what it raised, or why a part could not be kept running."""
    working = asyncio.create_task(work, name="up")
    stopping = asyncio.create_task(_wait(stop), name="stop")
    watching = asyncio.create_task(house.watch(), name="watch the parts")
    try:
        done, _ = await asyncio.wait({working, stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, working):
            if task in done:
                await task
        return working in done
    finally:
        for task in (working, stopping, watching):
            task.cancel()
        await asyncio.wait({working, stopping, watching})


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _stop(house: House, display: Display, clock: Clock) -> None:
    began_s = clock.monotonic()
    try:
        display.say("stopping; Ctrl-C again kills", "dim")
    finally:
        await house.stop()
    display.say(f"stopped in {clock.monotonic() - began_s:.1f} s", "dim")


def _heed_signals(stop: asyncio.Event, house: House) -> None:
    """The first signal stops; the second one kills all and leaves."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            house.kill()
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal, number)


def _log_to(path: Path) -> None:
    """What `up` itself has to log goes to a file: the terminal is for people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _record(url: str, bus_url: str, data_dir: Path, marker: str) -> record.Record:
    return record.Record(
        pid=os.getpid(),
        house=marker,
        version=__version__,
        gateway_url=url,
        bus_url=bus_url,
        bus_prefix=BusSettings().prefix,
        data_dir=str(data_dir),
        created_s=psutil.Process().create_time(),
    )
