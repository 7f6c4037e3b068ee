"""A container of a Pod, with every field of Kubernetes'. Those that a node of ours acts upon have types; the others are
handed on to Kubernetes as they are."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.kubernetes import Passed, Port, PortNumber
from matrixinfer.handlers.api.meta import DnsLabel, Flag, Part, Whole
from matrixinfer.handlers.api.patterns import FIELD_PATH, FOR_A_PROCESS, PATH_BELOW, VARIABLE
from matrixinfer.handlers.api.quantities import Quantity
from matrixinfer.handlers.api.rules import Rule

ProcessText = Annotated[str, Field(pattern=FOR_A_PROCESS)]
"""A word of a command line, a value of the environment, a folder."""
Seconds = Annotated[Whole, Field(ge=1)]
Times = Annotated[Whole, Field(ge=1)]
Below = Annotated[str, Field(pattern=PATH_BELOW)]


class FieldSelector(Part):
    field_path: Annotated[str, Field(pattern=FIELD_PATH)]
    api_version: str = ""


class EnvSource(Part):
    """One of them. A node that runs processes knows `fieldRef` only."""

    field_ref: FieldSelector | None = None
    resource_field_ref: Passed | None = None
    config_map_key_ref: Passed | None = None
    secret_key_ref: Passed | None = None
    file_key_ref: Passed | None = None


class EnvVar(Part):
    name: Annotated[str, Field(pattern=VARIABLE)]
    value: ProcessText = ""
    value_from: EnvSource | None = None


class VolumeMount(Part):
    name: DnsLabel
    mount_path: Annotated[ProcessText, Field(min_length=1)]
    sub_path: Below = ""
    sub_path_expr: Below = ""
    """With references to the environment: `$(NAME)`."""
    read_only: Flag = False
    recursive_read_only: str = ""
    mount_propagation: str = ""


class ExecAction(Part):
    command: Annotated[tuple[ProcessText, ...], Field(min_length=1)]


class HttpHeader(Part):
    name: str
    value: str


class HttpGetAction(Part):
    path: str = ""
    port: Port
    host: str = ""
    scheme: Literal["", "HTTP", "HTTPS"] = ""
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(Part):
    port: Port
    host: str = ""


class GrpcAction(Part):
    port: PortNumber
    service: str = ""


class SleepAction(Part):
    seconds: Annotated[Whole, Field(ge=0)]


ONE_ACTION = "a probe has one of exec, httpGet, tcpSocket and grpc"


class Probe(Part):
    """One of the actions, and how often it is tried."""

    RULES = (
        Rule(
            "[has(self.exec), has(self.httpGet), has(self.tcpSocket), has(self.grpc)].filter(x, x).size() <= 1",
            ONE_ACTION,
        ),
    )

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: Annotated[Whole, Field(ge=0)] = 0
    period_seconds: Seconds = 10
    timeout_seconds: Seconds = 1
    success_threshold: Times = 1
    failure_threshold: Times = 3
    termination_grace_period_seconds: Seconds | None = None
    """Instead of the Pod's, where this probe has failed."""

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        if [self.exec, self.http_get, self.tcp_socket, self.grpc].count(None) < 3:
            raise ValueError(ONE_ACTION)
        return self


ONE_DEED = "a hook has one of exec, httpGet, tcpSocket and sleep"


class LifecycleHandler(Part):
    RULES = (
        Rule(
            "[has(self.exec), has(self.httpGet), has(self.tcpSocket), has(self.sleep)].filter(x, x).size() <= 1",
            ONE_DEED,
        ),
    )

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    sleep: SleepAction | None = None

    @model_validator(mode="after")
    def _one_deed(self) -> Self:
        if [self.exec, self.http_get, self.tcp_socket, self.sleep].count(None) < 3:
            raise ValueError(ONE_DEED)
        return self


class Lifecycle(Part):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    """Ends before the container is asked to stop; its time is part of the Pod's grace period."""
    stop_signal: str = ""
    """Asks it to stop; empty: SIGTERM."""


class ContainerPort(Part):
    container_port: PortNumber
    name: str = ""
    protocol: str = ""
    host_ip: str = ""
    host_port: PortNumber | None = None


class ResourceRequirements(Part):
    """Of one container; names as Kubernetes has them, e.g. `cpu`, `memory`, `nvidia.com/gpu`."""

    limits: dict[str, Quantity] = Field(default={})
    requests: dict[str, Quantity] = Field(default={})
    claims: tuple[Passed, ...] = ()


class Container(Part):
    name: DnsLabel
    image: str = ""
    """Ignored by a node that runs containers as processes."""
    command: tuple[ProcessText, ...] = ()
    args: tuple[ProcessText, ...] = ()
    working_dir: ProcessText = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[Passed, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: tuple[Passed, ...] = ()
    restart_policy: str = ""
    """`Always` makes an init container a sidecar: it starts before the others, and runs beside them."""
    restart_policy_rules: tuple[Passed, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[Passed, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: Passed | None = None
    stdin: Flag = False
    stdin_once: Flag = False
    tty: Flag = False
