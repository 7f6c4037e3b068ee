"""What a Pod asks of a node: the few fields of its JSON that count here, read once and checked."""

from __future__ import annotations

import re
import reprlib
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

from matrixinfer.agents.node.checks import Check, read_check
from matrixinfer.agents.node.errors import BadPod
from matrixinfer.agents.node.probes import NO_PROBES, Probes, read_probes

AGENT_LABEL = "matrixinfer.ai/agent"
DEFAULT_GRACE_S = 30.0
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_SHORT_NAME = re.compile(rf"(?=.{{1,63}}$){_LABEL}")
_POLICIES = ("Always", "OnFailure", "Never")

RestartPolicy = Literal["Always", "OnFailure", "Never"]
Object = Mapping[str, Any]
"""A Kubernetes object as JSON gives it."""


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
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    id = _read_id(metadata)
    policy = spec.get("restartPolicy") or "Always"
    _check_names(id, [*(spec.get("initContainers") or []), *(spec.get("containers") or [])])
    if policy not in _POLICIES:
        raise BadPod(f"pod {id}: spec.restartPolicy is {policy!r}, expected one of {', '.join(_POLICIES)}")
    return Pod(
        id=id,
        uid=_text(metadata, "uid", "metadata"),
        containers=_read_containers(id, spec.get("containers") or []),
        init_containers=tuple(_read_container(id, item, is_init=True) for item in spec.get("initContainers") or []),
        volumes={_named(volume, f"pod {id}, a volume"): volume for volume in spec.get("volumes") or []},
        node=_text(spec, "nodeName", "spec"),
        restart_policy=cast(RestartPolicy, policy),
        grace_s=_grace_s(metadata, spec),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        has_agent=str((metadata.get("labels") or {}).get(AGENT_LABEL, "")).lower() == "true",
        document=document,
    )


def _read_id(metadata: Object) -> PodId:
    """Names become folders of this machine and words of its log."""
    namespace, name = metadata.get("namespace") or "default", metadata.get("name")
    if not isinstance(namespace, str) or not _SHORT_NAME.fullmatch(namespace):
        raise BadPod(
            f"metadata.namespace is {_shown(namespace)}, expected a name in lower case of at most 63 characters"
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadPod(f"metadata.name is {_shown(name)}, expected a name in lower case of at most 253 characters")
    return PodId(namespace, name)


def _named(item: Object, whose: str) -> str:
    name = item.get("name")
    if not isinstance(name, str) or not _SHORT_NAME.fullmatch(name):
        raise BadPod(f"{whose}: name is {_shown(name)}, expected one in lower case of at most 63 characters")
    return name


def _text(part: Object, field: str, where: str) -> str:
    value = part.get(field) or ""
    if not isinstance(value, str):
        raise BadPod(f"{where}.{field} is {_shown(value)}, expected text")
    return value


def _shown(value: object) -> str:
    """Not the whole of a large one."""
    return reprlib.repr(value)


def _grace_s(metadata: Object, spec: Object) -> float:
    for seconds in (metadata.get("deletionGracePeriodSeconds"), spec.get("terminationGracePeriodSeconds")):
        if seconds is not None:
            return float(seconds)
    return DEFAULT_GRACE_S


def _read_containers(id: PodId, items: list[Object]) -> tuple[Container, ...]:
    if not items:
        raise BadPod(f"pod {id}: spec.containers is empty, expected at least one container")
    return tuple(_read_container(id, item) for item in items)


def _check_names(id: PodId, items: list[Object]) -> None:
    names = [str(item.get("name")) for item in items]
    if len(set(names)) != len(names):
        raise BadPod(f"pod {id}: spec.containers has two containers of one name: {', '.join(names)}")


def _read_container(id: PodId, item: Object, *, is_init: bool = False) -> Container:
    name = _named(item, f"pod {id}, a container")
    argv = tuple(str(word) for word in (*(item.get("command") or ()), *(item.get("args") or ())))
    if not argv:
        raise BadPod(f"pod {id}, container {name}: no command; this node has no images, so say what to execute")
    lifecycle, ports = item.get("lifecycle") or {}, item.get("ports") or ()
    try:
        return Container(
            name,
            argv,
            tuple(item.get("env") or ()),
            item.get("workingDir") or "",
            is_init=is_init,
            is_sidecar=is_init and item.get("restartPolicy") == "Always",
            environment_from=tuple(item.get("envFrom") or ()),
            mounts=tuple(_read_mount(mount) for mount in item.get("volumeMounts") or ()),
            probes=read_probes(item, ports),
            pre_stop=read_check(lifecycle.get("preStop"), ports),
            post_start=read_check(lifecycle.get("postStart"), ports),
            stop_signal=_read_signal(lifecycle.get("stopSignal")),
        )
    except ValueError as error:
        raise BadPod(f"pod {id}, container {name}: {error}") from error


def _read_mount(item: Object) -> Mount:
    path = str(item.get("mountPath"))
    if not path.startswith("/"):
        raise ValueError(f"mountPath {path!r} is relative; this node needs the whole path, which it replaces")
    return Mount(
        str(item.get("name")), path.rstrip("/") or "/", item.get("subPath") or "", item.get("subPathExpr") or ""
    )


def _read_signal(name: str | None) -> str:
    """Kubernetes' names are those of the system, and for real-time signals `SIGRTMIN+1` and the like."""
    if not name:
        return "SIGTERM"
    if name not in signal.Signals.__members__:
        raise ValueError(f"stopSignal {name!r} is unknown to this node; expected e.g. SIGTERM, SIGINT or SIGQUIT")
    return name
