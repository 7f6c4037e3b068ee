"""`up`: the whole platform on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(up)


def up(
    *,
    filename: Annotated[
        str | None, typer.Option("-f", "--filename", metavar="FILE", help="Objects to serve; - reads stdin.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP API; 0 takes a free one.")] = 8080,
    engine: Annotated[
        str | None, typer.Option(help="'simulated' serves a model without weights, for trying things.")
    ] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="Agents of the built-in model. \\[default: 1]")] = None,
    gateways: Annotated[int, typer.Option(min=1, max=64, help="Gateway processes that share the port.")] = 1,
    nats: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this NATS server instead of starting one.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="MATRIXINFER_DATA", help="Data folder. \\[default: ~/.local/share/matrixinfer]"),
    ] = None,
) -> None:
    """Start the whole platform on this machine and serve a model.

    Without flags it fetches a small real model once and serves it on the CPU, on http://127.0.0.1:8080.

    Example: matrixinfer up

    Example: matrixinfer up --engine simulated --replicas 3

    Example: matrixinfer up -f my-model.yaml --port 9000
    """
    from matrixinfer.bus.clock import SystemClock
    from matrixinfer.cli.manifest_files import read_text
    from matrixinfer.cli.process import loop_factory
    from matrixinfer.up.display import Display
    from matrixinfer.up.main import up as run
    from matrixinfer.up.manifests import choose
    from matrixinfer.up.options import Options
    from matrixinfer.up.record import default_data_dir

    manifest = choose(read_text(filename) if filename else None, engine, replicas)
    data_dir = (data or default_data_dir()).expanduser().absolute()
    options = Options(data_dir, manifest, host, port, gateways, nats or None)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run(options, Display(SystemClock())))
