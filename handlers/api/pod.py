"""The subset of a core Pod that we write and read."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from matrixinfer.handlers.api.conditions import is_true
from matrixinfer.handlers.api.meta import Condition, DnsLabel, Part, Resource, Whole
from matrixinfer.handlers.api.patterns import FOR_A_PROCESS, VARIABLE
from matrixinfer.handlers.api.quantities import Quantity
from matrixinfer.handlers.api.spread import TopologySpreadConstraint

ProcessText = Annotated[str, Field(pattern=FOR_A_PROCESS)]
"""A word of a command line, a value of the environment, a folder."""


class FieldSelector(Part):
    field_path: Literal["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName"]


class EnvSource(Part):
    field_ref: FieldSelector


class EnvVar(Part):
    name: Annotated[str, Field(pattern=VARIABLE)]
    value: ProcessText = ""
    value_from: EnvSource | None = None


class Resources(Part):
    """What the scheduler keeps free for a container, and what it must not exceed."""

    requests: dict[str, Quantity] = Field(default={})
    limits: dict[str, Quantity] = Field(default={})


class Container(Part):
    name: DnsLabel
    image: str = ""
    """Ignored by a node that runs containers as processes."""
    command: tuple[ProcessText, ...] = ()
    args: tuple[ProcessText, ...] = ()
    env: tuple[EnvVar, ...] = ()
    working_dir: ProcessText = ""
    resources: Resources = Resources()


class PodSpec(Part):
    containers: Annotated[tuple[Container, ...], Field(min_length=1)]
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Annotated[Whole, Field(ge=0)] = 30
    """Seconds between the request to stop and the end by force."""
    hostname: str = ""
    subdomain: str = ""
    """With the hostname and a headless Service of this name, the Pod is found under `hostname.subdomain`."""
    scheduler_name: str = ""
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    node_name: str | None = None
    """Who runs it; set by the node or by Kubernetes' scheduler, never by us."""


class ContainerStateRunning(Part):
    started_at: str | None = None


class ContainerStateWaiting(Part):
    reason: str = ""
    message: str = ""


class ContainerStateTerminated(Part):
    exit_code: int
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(Part):
    """Exactly one is set; none means waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Part):
    name: str
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(Part):
    """Written by the node alone."""

    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"] = "Pending"
    reason: str = ""
    message: str = ""
    host_ip: str = ""
    pod_ip: str = ""
    start_time: str | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Resource):
    API_VERSION: ClassVar[str] = "v1"

    api_version: str = "v1"
    kind: Literal["Pod"] = "Pod"
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        return self.status.phase == "Running" and is_true(self.status.conditions, "Ready")

    @property
    def has_ended(self) -> bool:
        """No container of it will run again."""
        return self.status.phase in ("Failed", "Succeeded")
