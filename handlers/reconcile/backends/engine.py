"""What the Pods of an engine that runs in a container of its own need to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from matrixinfer.handlers.api.backend import Backend, Worker
from matrixinfer.handlers.api.container import ContainerPort, EnvSource, EnvVar, FieldSelector
from matrixinfer.handlers.api.model import Model

KV_EVENTS_PORT = 5557
RENDEZVOUS_PORT = 20000
"""Where the machines of one engine find its first one."""
GPUS = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "habana.ai/gaudi", "huawei.com/Ascend910")


@dataclass(frozen=True)
class Asked:
    """One role of one backend."""

    model: Model
    backend: Backend
    worker: Worker
    weights_path: str

    @property
    def gpus(self) -> int:
        """Of one Pod; 1 where nothing is said of resources, 0 where none is asked for."""
        resources = self.worker.resources
        amounts = resources.limits | resources.requests
        if not amounts:
            return 1
        return sum(int(amounts[name]) for name in GPUS if name in amounts and str(amounts[name]).isdigit())


@dataclass(frozen=True)
class EngineCommand:
    """`first` is the command of the Pod that takes requests, `others` that of further machines. `agent_config` is what
    the agent must know to drive it. Health is asked at `health_path` of `port`."""

    first: tuple[str, ...]
    others: tuple[str, ...]
    port: int
    health_path: str
    agent_config: dict[str, Any]
    ports: tuple[ContainerPort, ...]
    env: tuple[EnvVar, ...] = field(default=())


def from_field(name: str, path: str) -> EnvVar:
    return EnvVar(name=name, value_from=EnvSource(field_ref=FieldSelector(field_path=path)))


POD_IP = from_field("POD_IP", "status.podIP")
HOST_IP = from_field("HOST_IP", "status.hostIP")
