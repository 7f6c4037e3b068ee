"""Which cluster a command is about: the one that `up` runs here, or one of Kubernetes; the same calls for both."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer

from matrixinfer.cli.running import BusOption, DataOption, connected, running

if TYPE_CHECKING:  # `--help` loads no part of the platform
    from matrixinfer.bus.cluster_client import Sighting
    from matrixinfer.bus.contracts.cluster import AppliedObject

Manifest = dict[str, Any]

KubeconfigOption = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        envvar="MATRIXINFER_KUBECONFIG",
        metavar="FILE",
        help="Ask a Kubernetes cluster, by this file; by itself where no platform runs here.",
    ),
]
ContextOption = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Ask a Kubernetes cluster, by this context of the file.")
]


class Where(NamedTuple):
    """What a command line says of the cluster; all may be absent."""

    bus_url: str | None = None
    data: Path | None = None
    kubeconfig: str | None = None
    context: str | None = None

    @property
    def is_kubernetes(self) -> bool:
        """As it says; else the platform that runs here, before a kubeconfig that lies around."""
        if self.kubeconfig is not None or self.context is not None:
            return True
        if self.bus_url or self.data or running(None) is not None:
            return False
        return bool(os.environ.get("KUBECONFIG")) or (Path.home() / ".kube" / "config").exists()


def _where(
    *,
    bus: BusOption = None,
    data: DataOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> Where:
    return Where(bus, data, kubeconfig, context)


def on_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `where` comes out of the options that say which cluster is meant."""
    options = inspect.signature(_where, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True)
    parameters = [one for one in own.parameters.values() if one.name != "where"] + list(options.values())

    @functools.wraps(command)
    def told(**values: Any) -> None:  # Any: each command has its own
        command(where=_where(**{name: values.pop(name) for name in options}), **values)

    told.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # what typer looks at
    return told


class Objects(Protocol):
    """Calls raise the bus's Refused, with sentences for people, and Unavailable."""

    async def apply(self, manifests: str, namespace: str = "default") -> list[AppliedObject]: ...
    def watch(self, kind: str, namespace: str = "", name: str = "") -> AsyncGenerator[list[Sighting], None]: ...
    async def preview(self, manifests: str, namespace: str = "default") -> list[AppliedObject]: ...
    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None: ...
    async def list(self, kind: str, namespace: str = "", labels: dict[str, str] | None = None) -> list[Manifest]: ...
    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> bool: ...


@asynccontextmanager
async def objects_of(where: Where) -> AsyncIterator[Objects]:
    """The cluster's objects. Raises CliError when there is no cluster to be found."""
    from matrixinfer.bus.clock import SystemClock

    if where.is_kubernetes:
        from matrixinfer.handlers.cluster.kubernetes.client import KubernetesClient

        found = await KubernetesClient.open(
            SystemClock(), kubeconfig=where.kubeconfig or "", context=where.context or ""
        )
        try:
            yield found
        finally:
            await found.close()
        return
    from matrixinfer.cli.local_objects import LocalObjects

    async with connected(where.bus_url, where.data) as bus:
        yield LocalObjects(bus)
