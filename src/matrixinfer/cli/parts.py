"""`gateway`, `handlers`, `node`, `agent`: the platform's processes, one command each.

A flag wins over the environment (`MATRIXINFER_<PART>_…`), which wins over the default.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from matrixinfer.bus.bus import Bus
    from matrixinfer.bus.settings import BusSettings

PANEL = "Processes (what `up` and Kubernetes start)"


def register(app: typer.Typer) -> None:
    for command in (gateway, handlers, node, agent):
        app.command(rich_help_panel=PANEL)(command)


def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on. \\[default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one. \\[default: 8080]")] = None,
    reuse_port: Annotated[
        bool | None, typer.Option("--reuse-port", help="Let several gateways listen on the same port.")
    ] = None,
) -> None:
    """Run a gateway: the OpenAI HTTP door.

    Settings come from MATRIXINFER_GATEWAY_* and MATRIXINFER_BUS_URL.

    Example: MATRIXINFER_BUS_URL=nats://127.0.0.1:4222 matrixinfer gateway --port 8080
    """
    from matrixinfer.cli.process import run_process
    from matrixinfer.gateway.main import serve
    from matrixinfer.gateway.settings import GatewaySettings

    settings = GatewaySettings(**_given(host=host, port=port, reuse_port=reuse_port))

    async def run(bus: Bus, _: BusSettings, stop: asyncio.Event) -> None:
        await serve(settings, bus, stop)

    run_process("gateway", run)


def handlers(
    only: Annotated[
        str | None,
        typer.Option(
            help="Roles of this process, of cluster, reconcile, dispatch, admission. \\[default: all but admission]"
        ),
    ] = None,
) -> None:
    """Run the handlers: controllers, the dispatcher and the local cluster's door; or the webhooks of a Kubernetes
    cluster.

    Settings come from MATRIXINFER_HANDLERS_*, MATRIXINFER_ADMISSION_* and MATRIXINFER_BUS_URL.

    Example: matrixinfer handlers --only dispatch
    """
    from matrixinfer.cli.process import run_process
    from matrixinfer.handlers.main import serve
    from matrixinfer.handlers.settings import HandlersSettings

    settings = HandlersSettings(**_given(roles=only))

    async def run(bus: Bus, bus_settings: BusSettings, stop: asyncio.Event) -> None:
        await serve(settings, bus, bus_settings, stop)

    run_process("handlers", run)


def node(
    name: Annotated[str | None, typer.Option(help="Name of this node. \\[default: local]")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data", help="Folder for records, logs, working folders.")] = None,
) -> None:
    """Run a node: it runs the Pods of the local cluster as processes of this machine.

    Settings come from MATRIXINFER_NODE_* and MATRIXINFER_BUS_URL.
    """
    from matrixinfer.agents.node.main import serve
    from matrixinfer.agents.node.settings import NodeSettings
    from matrixinfer.cli.process import run_process

    settings = NodeSettings(**_given(name=name, data_dir=data_dir))

    async def run(bus: Bus, _: BusSettings, stop: asyncio.Event) -> None:
        await serve(settings, bus, stop)

    run_process("node", run)


def agent(
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="Namespace of the pod.")] = None,
    pod: Annotated[str | None, typer.Option(help="Name of the pod; work is sent to it. \\[default: host name]")] = None,
    engine: Annotated[str | None, typer.Option(help="Kind of engine, e.g. LlamaCpp or Simulated.")] = None,
    model_uri: Annotated[str | None, typer.Option(help="Where the weights come from.")] = None,
) -> None:
    """Run an agent with its engine: it pulls work and answers with frames.

    Settings come from MATRIXINFER_AGENT_* and MATRIXINFER_BUS_URL.

    Example: matrixinfer agent --pod one --engine Simulated --model-uri simulated://model
    """
    from matrixinfer.agents.main import serve
    from matrixinfer.agents.settings import AgentSettings
    from matrixinfer.cli.process import run_process

    settings = AgentSettings(**_given(namespace=namespace, pod=pod, engine=engine, model_uri=model_uri))

    async def run(bus: Bus, _: BusSettings, stop: asyncio.Event) -> None:
        await serve(settings, bus, stop)

    run_process("agent", run)


def _given(**flags: Any) -> dict[str, Any]:
    """The flags that were given; the others are left to the environment."""
    return {name: value for name, value in flags.items() if value is not None}
