"""Finds the platform that a command talks to: by flag, by environment, or by the note that `up` left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixinfer.cli.errors import CliError

if TYPE_CHECKING:
    from matrixinfer.bus.bus import Bus
    from matrixinfer.bus.settings import BusSettings
    from matrixinfer.up.record import Record

BusOption = Annotated[
    str | None,
    typer.Option("--bus", envvar="MATRIXINFER_BUS_URL", show_envvar=True, help="Where the bus is; found by itself."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", envvar="MATRIXINFER_DATA", help="Data folder of the `up` to talk to.")
]


def _root(url: str | None) -> str | None:
    """The gateway's own address, also of the one with `/v1` that OpenAI's clients call their base URL."""
    return url.rstrip("/").removesuffix("/v1") if url else None


UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="MATRIXINFER_URL", callback=_root, help="Where the gateway is; found by itself."),
]


def running(data_dir: Path | None) -> Record | None:
    """The platform that runs on this machine with that (or the default) data folder."""
    from matrixinfer.up.record import default_data_dir, read_running

    return read_running(data_dir or default_data_dir())


def gateway_url(url: str | None, data_dir: Path | None) -> str:
    """Raises CliError when nothing tells where a gateway is."""
    if url:
        return url
    record = running(data_dir)
    if record is None:
        raise CliError("no platform runs here: start one with `matrixinfer up`, or name a gateway with --url")
    return record.gateway_url


def bus_settings(bus_url: str | None, data_dir: Path | None) -> BusSettings:
    """Raises CliError when nothing tells where the bus is."""
    from matrixinfer.bus.settings import BusSettings

    if bus_url:
        return BusSettings(url=bus_url, name="operator")
    record = running(data_dir)
    if record is None:
        raise CliError("no platform runs here: start one with `matrixinfer up`, or name its bus with --bus")
    if not record.bus_url:
        raise CliError("the platform is just starting; try again in a moment")
    return BusSettings(url=record.bus_url, prefix=record.bus_prefix, name="operator")


@asynccontextmanager
async def connected(bus_url: str | None, data_dir: Path | None) -> AsyncIterator[Bus]:
    """A connection to the platform's bus as its operator."""
    from matrixinfer.bus.clock import SystemClock
    from matrixinfer.bus.jetstream import connect

    bus = await connect(bus_settings(bus_url, data_dir), SystemClock(), declare=False)
    try:
        yield bus
    finally:
        await bus.link.close()
