"""The processes of the platform: what each is called, executed as, and given in its environment. Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from matrixinfer.bus.topology import Part
from matrixinfer.up.options import Options

MARKER = "MATRIXINFER_HOUSE"
"""In the environment of every process of one platform; the reaper ends what carries it."""

GATEWAY_DRAIN_S = 1.5
POD_GRACE_S = 2.5
"""`up` promises to stop within ten seconds; these are the shares of what may take long."""


@dataclass(frozen=True)
class Ports:
    """`door` is what all gateways share; `metrics` has one of its own for each, or none when there is one gateway: then
    the door's answers are always its own."""

    door: int
    metrics: tuple[int, ...] = ()


@dataclass(frozen=True)
class PartSpec:
    """`stop_s` is how long the process may take to end after SIGTERM."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    stop_s: float


def part_specs(options: Options, ports: Ports, url_of: Callable[[Part], str]) -> list[PartSpec]:
    """Handlers, node and gateways, in the order of starting; `url_of` gives the bus address of a part's user."""
    handlers = _spec("handlers", url_of(Part.HANDLERS), {}, stop_s=1.5)
    node = _spec("node", url_of(Part.NODE), _node_environment(options.data_dir, url_of(Part.AGENT)), POD_GRACE_S + 1.0)
    names = ["gateway"] if options.gateways == 1 else [f"gateway-{number}" for number in range(options.gateways)]
    gateways = [
        _spec(name, url_of(Part.GATEWAY), environment, GATEWAY_DRAIN_S + 1.0, command="gateway")
        for name, environment in zip(names, _gateway_environments(options, ports, names), strict=True)
    ]
    return [handlers, node, *gateways]


def _spec(name: str, url: str, environment: Mapping[str, str], stop_s: float, command: str = "") -> PartSpec:
    argv = (sys.executable, "-m", "matrixinfer", command or name)
    return PartSpec(name, argv, {"MATRIXINFER_BUS_URL": url, **environment}, stop_s)


def _node_environment(data_dir: Path, agent_url: str) -> dict[str, str]:
    return {
        "MATRIXINFER_NODE_DATA_DIR": str(data_dir),
        "MATRIXINFER_NODE_AGENT_BUS_URL": agent_url,
        "MATRIXINFER_NODE_EXIT_GRACE_S": str(POD_GRACE_S),
    }


def _gateway_environments(options: Options, ports: Ports, names: Sequence[str]) -> Iterator[dict[str, str]]:
    """One for each worker."""
    shared = {
        "MATRIXINFER_GATEWAY_HOST": options.host,
        "MATRIXINFER_GATEWAY_PORT": str(ports.door),
        "MATRIXINFER_GATEWAY_REUSE_PORT": "true",
        "MATRIXINFER_GATEWAY_DRAIN_S": str(GATEWAY_DRAIN_S),
    }
    for name, port in zip_longest(names, ports.metrics):
        own = {} if port is None else {"MATRIXINFER_GATEWAY_METRICS_PORT": str(port)}
        yield {**shared, "MATRIXINFER_GATEWAY_WORKER": name, **own}
