"""What a Pod asks of a node: the few fields of its JSON that count here, read once and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

from matrixinfer.agents.node.errors import BadPod

AGENT_LABEL = "matrixinfer.ai/agent"
DEFAULT_GRACE_S = 30.0
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
class Container:
    """`environment` still holds the references to the Pod's own fields: see `environment.resolve`."""

    name: str
    argv: tuple[str, ...]
    environment: tuple[Object, ...] = ()
    working_dir: str = ""


@dataclass(frozen=True)
class Pod:
    """A Pod that this node runs. `grace_s` is how long its containers may take to end."""

    id: PodId
    uid: str
    containers: tuple[Container, ...]
    node: str = ""
    restart_policy: RestartPolicy = "Always"
    grace_s: float = DEFAULT_GRACE_S
    is_deleting: bool = False
    has_agent: bool = False
    document: Object = field(default_factory=dict, compare=False)


def read_pod(document: Object) -> Pod:
    """Raises BadPod for a Pod that no node could run, with the field that is wrong."""
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    id = PodId(metadata.get("namespace") or "default", metadata.get("name") or "")
    policy = spec.get("restartPolicy") or "Always"
    if policy not in _POLICIES:
        raise BadPod(f"pod {id}: spec.restartPolicy is {policy!r}, expected one of {', '.join(_POLICIES)}")
    return Pod(
        id=id,
        uid=metadata.get("uid") or "",
        containers=_read_containers(id, spec.get("containers") or []),
        node=spec.get("nodeName") or "",
        restart_policy=cast(RestartPolicy, policy),
        grace_s=_grace_s(metadata, spec),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        has_agent=str((metadata.get("labels") or {}).get(AGENT_LABEL, "")).lower() == "true",
        document=document,
    )


def _grace_s(metadata: Object, spec: Object) -> float:
    for seconds in (metadata.get("deletionGracePeriodSeconds"), spec.get("terminationGracePeriodSeconds")):
        if seconds is not None:
            return float(seconds)
    return DEFAULT_GRACE_S


def _read_containers(id: PodId, items: list[Object]) -> tuple[Container, ...]:
    if not items:
        raise BadPod(f"pod {id}: spec.containers is empty, expected at least one container")
    containers = tuple(_read_container(id, item) for item in items)
    names = [container.name for container in containers]
    if len(set(names)) != len(names):
        raise BadPod(f"pod {id}: spec.containers has two containers of one name: {', '.join(names)}")
    return containers


def _read_container(id: PodId, item: Object) -> Container:
    name = item.get("name") or ""
    argv = tuple(str(word) for word in (*(item.get("command") or ()), *(item.get("args") or ())))
    if not name:
        raise BadPod(f"pod {id}: a container has no name")
    if not argv:
        raise BadPod(f"pod {id}, container {name}: no command; this node has no images, so say what to execute")
    return Container(name, argv, tuple(item.get("env") or ()), item.get("workingDir") or "")
