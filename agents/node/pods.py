"""What a Pod asks of a node: the few fields of its JSON that count here, read once and checked."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from matrixinfer.agents.node.checks import Check, read_check
from matrixinfer.agents.node.errors import BadPod
from matrixinfer.agents.node.probes import NO_PROBES, Probes, read_probes
from matrixinfer.agents.node.shapes import Object, part, parts, seconds, shown, text, words
from matrixinfer.bus.subjects import escape

AGENT_LABEL = "matrixinfer.ai/agent"
DEFAULT_GRACE_S = 30.0
_POLICIES = ("Always", "OnFailure", "Never")

LONGEST_NAME = 255
"""Bytes of a file's name."""
_LONGEST_ENDING = len(".log.1")

RestartPolicy = Literal["Always", "OnFailure", "Never"]


class PodId(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ContainerId(NamedTuple):
    pod: PodId
    container: str

    def __str__(self) -> str:
        return f"{self.pod}/{self.container}"


@dataclass(frozen=True)
class Mount:
    """Where a container wants a volume; `sub_path` is a folder in it, `sub_path_expr` one whose name its environment
    tells."""

    volume: str
    path: str
    sub_path: str = ""
    sub_path_expr: str = ""


@dataclass(frozen=True)
class Container:
    """`environment` still holds the references to the Pod's own fields: see `environment.resolve`. An init container
    runs to its end before the next one starts; as a `sidecar` it starts in its turn, and runs beside the others."""

    name: str
    argv: tuple[str, ...]
    environment: tuple[Object, ...] = ()
    working_dir: str = ""
    is_init: bool = False
    is_sidecar: bool = False
    environment_from: tuple[Object, ...] = ()
    mounts: tuple[Mount, ...] = ()
    probes: Probes = NO_PROBES
    pre_stop: Check | None = None
    post_start: Check | None = None
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True)
class Pod:
    """A Pod that this node runs. `grace_s` is how long its containers may take to end. `volumes` by their names."""

    id: PodId
    uid: str
    containers: tuple[Container, ...]
    node: str = ""
    restart_policy: RestartPolicy = "Always"
    grace_s: float = DEFAULT_GRACE_S
    is_deleting: bool = False
    has_agent: bool = False
    document: Object = field(default_factory=dict, compare=False)
    init_containers: tuple[Container, ...] = ()
    volumes: Mapping[str, Object] = field(default_factory=dict)

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """In the order in which they start."""
        return (*self.init_containers, *self.containers)


def read_pod(document: Object) -> Pod:
    """Raises BadPod for a Pod that no node could run, with the field that is wrong."""
    try:
        metadata, spec = part(document, "metadata"), part(document, "spec")
        id = PodId(text(metadata, "namespace") or "default", text(metadata, "name"))
    except ValueError as error:
        raise BadPod(str(error)) from error
    try:
        return _read_spec(document, id, metadata, spec)
    except ValueError as error:
        raise BadPod(f"pod {id}: {error}") from error


def _read_spec(document: Object, id: PodId, metadata: Object, spec: Object) -> Pod:
    init, main = parts(spec, "initContainers"), parts(spec, "containers")
    policy = text(spec, "restartPolicy") or "Always"
    if policy not in _POLICIES:
        raise ValueError(f"spec.restartPolicy is {shown(policy)}, expected one of {', '.join(_POLICIES)}")
    if not main:
        raise ValueError("spec.containers is empty, expected at least one container")
    _check_names(id, [text(item, "name") for item in (*init, *main)])
    grace_s = seconds(spec, "terminationGracePeriodSeconds", DEFAULT_GRACE_S)
    return Pod(
        id=id,
        uid=text(metadata, "uid"),
        containers=tuple(_read_container(item) for item in main),
        init_containers=tuple(_read_container(item, is_init=True) for item in init),
        volumes={text(volume, "name"): volume for volume in parts(spec, "volumes")},
        node=text(spec, "nodeName"),
        restart_policy=cast(RestartPolicy, policy),
        grace_s=seconds(metadata, "deletionGracePeriodSeconds", grace_s),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        has_agent=str(part(metadata, "labels").get(AGENT_LABEL, "")).lower() == "true",
        document=document,
    )


def _check_names(id: PodId, containers: list[str]) -> None:
    """Each is the name of a folder or of files here."""
    for what, name, longest in (
        ("metadata.namespace", id.namespace, LONGEST_NAME),
        ("metadata.name", id.name, LONGEST_NAME),
        *(("a container's name", name, LONGEST_NAME - _LONGEST_ENDING) for name in containers),
    ):
        if not name:
            raise ValueError(f"{what} is empty" if what.startswith("metadata") else "a container has no name")
        if len(escape(name)) > longest:
            raise ValueError(
                f"{what} makes a file's name of {len(escape(name))} characters here, expected at most {longest}: "
                f"{shown(name)}"
            )
    if len(set(containers)) != len(containers):
        raise ValueError(f"spec.containers has two containers of one name: {', '.join(containers)}")


def _read_container(item: Object, *, is_init: bool = False) -> Container:
    name = text(item, "name")
    try:
        return _read_named_container(name, item, is_init)
    except ValueError as error:
        raise ValueError(f"container {name}: {error}") from error


def _read_named_container(name: str, item: Object, is_init: bool) -> Container:
    argv = (*words(item, "command"), *words(item, "args"))
    if not argv:
        raise ValueError("no command; this node has no images, so say what to execute")
    lifecycle, ports = part(item, "lifecycle"), parts(item, "ports")
    return Container(
        name,
        argv,
        parts(item, "env"),
        text(item, "workingDir"),
        is_init=is_init,
        is_sidecar=is_init and text(item, "restartPolicy") == "Always",
        environment_from=parts(item, "envFrom"),
        mounts=tuple(_read_mount(mount) for mount in parts(item, "volumeMounts")),
        probes=read_probes(item, ports),
        pre_stop=read_check(lifecycle, "preStop", ports),
        post_start=read_check(lifecycle, "postStart", ports),
        stop_signal=_read_signal(text(lifecycle, "stopSignal")),
    )


def _read_mount(item: Object) -> Mount:
    path = text(item, "mountPath")
    if not path.startswith("/"):
        raise ValueError(f"mountPath {path!r} is relative; this node needs the whole path, which it replaces")
    return Mount(text(item, "name"), path.rstrip("/") or "/", text(item, "subPath"), text(item, "subPathExpr"))


def _read_signal(name: str) -> str:
    """Kubernetes' names are those of the system, and for real-time signals `SIGRTMIN+1` and the like."""
    if not name:
        return "SIGTERM"
    if name not in signal.Signals.__members__:
        raise ValueError(f"stopSignal {shown(name)} is unknown to this node; expected e.g. SIGTERM, SIGINT or SIGQUIT")
    return name
