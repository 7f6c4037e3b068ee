"""The core Pod: what is known of its status, and the whole of its spec."""

from __future__ import annotations

from typing import ClassVar, Literal

from matrixinfer.handlers.api.conditions import is_true
from matrixinfer.handlers.api.meta import Condition, Part, Resource
from matrixinfer.handlers.api.podspec import PodSpec


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
    init_container_statuses: tuple[ContainerStatus, ...] = ()


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
