"""`logs`: what a container of a pod says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixinfer.cli.clusters import Where, on_a_cluster
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.objects import PANEL, NamespaceOption
from matrixinfer.cli.running import running

if TYPE_CHECKING:  # `--help` loads no part of the platform
    from matrixinfer.handlers.cluster.kubernetes.client import KubernetesClient

LOOK_EVERY_S = 0.2


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(logs)


@on_a_cluster
def logs(
    *,
    where: Where,
    pod: Annotated[str, typer.Argument(help="Name of the pod.")],
    container: Annotated[str | None, typer.Option("-c", "--container", help="Which one, where it has several.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    previous: Annotated[
        bool, typer.Option("-p", "--previous", help="Of the run before this one, e.g. of the one that crashed.")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only so many of the last lines.")] = None,
    namespace: NamespaceOption = "default",
) -> None:
    """Print the log of a container.

    On the platform of this machine it is read from the data folder, also when the pod is gone.

    Example: matrixinfer logs smollm2-main-0-server-0-0 --tail 50 -f
    """
    if previous and follow:
        raise CliError("the run before this one has ended: nothing comes any more; leave out --follow or --previous")
    if where.is_kubernetes:

        def lines(client: KubernetesClient) -> AsyncIterator[str]:
            return client.logs(namespace, pod, container or "", follow=follow, tail=tail, previous=previous)

        asyncio.run(_of_kubernetes(where, lines))
    else:
        path = log_file(where, namespace, pod, container)
        asyncio.run(_of_this_machine(former(path) if previous else path, follow, tail))


def log_file(where: Where, namespace: str, pod: str, container: str | None) -> Path:
    """Raises CliError that says what there is."""
    from matrixinfer.bus.subjects import escape

    record = running(where.data)
    if record is None:
        raise CliError("no platform runs here: logs are read on the machine of the node (or name a folder with --data)")
    folder = Path(record.data_dir) / "logs" / "pods" / escape(namespace) / escape(pod)
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not found:
        raise CliError(f"pod {namespace}/{pod} has no log on this machine; `matrixinfer get pods` lists the pods")
    if container is None and len(found) > 1:
        raise CliError(f"pod {pod} has several containers: say which with -c, one of {', '.join(found)}")
    name = escape(container) if container is not None else next(iter(found))
    if name not in found:
        raise CliError(f"pod {pod} has no container {container!r}; expected one of {', '.join(found)}")
    return found[name]


def former(path: Path) -> Path:
    """The log of the run before: the node moves it aside when a container starts. Raises CliError."""
    aside = path.with_name(f"{path.name}.1")
    if not aside.exists():
        raise CliError(f"container {path.stem} has no log of a run before this one: it has not been restarted")
    return aside


async def _of_this_machine(path: Path, follow: bool, tail: int | None) -> None:
    from matrixinfer.cli.log_files import Follower, last_lines

    follower = Follower(path)
    try:
        for line in last_lines(path, tail):
            typer.echo(line)
        while follow:
            for line in follower.lines():
                typer.echo(line)
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        follower.close()


async def _of_kubernetes(where: Where, lines: Callable[[KubernetesClient], AsyncIterator[str]]) -> None:
    from matrixinfer.bus.clock import SystemClock
    from matrixinfer.handlers.cluster.kubernetes.client import KubernetesClient

    client = await KubernetesClient.open(SystemClock(), kubeconfig=where.kubeconfig or "", context=where.context or "")
    try:
        async for line in lines(client):
            typer.echo(line)
    finally:
        await client.close()
