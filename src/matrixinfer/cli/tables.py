"""How objects look in a table: which columns a kind has, and what stands in them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

Manifest = Mapping[str, Any]
Column = tuple[str, Callable[[Manifest], str]]

FINE_WHEN_FALSE = frozenset({"Conflicted", "Degraded", "Progressing", "UpdateInProgress"})
"""Conditions that tell of trouble or of work going on."""


def columns(kind: str) -> list[Column]:
    """The columns between NAME and AGE."""
    return COLUMNS.get(kind, [("STATE", _conditions)])


def age(manifest: Manifest, now: float) -> str:
    """Two digits are enough: `42s`, `17m`, `5h`, `3d`."""
    created = manifest["metadata"].get("creationTimestamp")
    if not created:
        return ""
    seconds = max(0, int(now - datetime.fromisoformat(created).timestamp()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def condition(manifest: Manifest, type: str) -> Manifest:
    """The condition of that type, or an empty one."""
    conditions: list[Manifest] = _status(manifest).get("conditions") or []
    return next((one for one in conditions if one.get("type") == type), {})


def condition_text(condition: Manifest) -> str:
    """`Reason: sentence`, as far as there is one."""
    return ": ".join(text for text in (condition.get("reason", ""), condition.get("message", "")) if text)


def pod_state(pod: Manifest) -> str:
    """What kubectl shows under STATUS: the reason of a container that waits or ended, else the phase."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if "matrixinfer.ai/drain-since" in pod["metadata"].get("annotations", {}):
        return "Draining"
    for container in _containers(pod):
        state = container.get("state") or {}
        if waiting := state.get("waiting"):
            return str(waiting.get("reason") or "Waiting")
        if terminated := state.get("terminated"):
            return str(terminated.get("reason") or f"Exit{terminated.get('exitCode')}")
    return str(_status(pod).get("phase") or "Pending")


def _status(manifest: Manifest) -> Manifest:
    return manifest.get("status") or {}


def _containers(pod: Manifest) -> list[Manifest]:
    return _status(pod).get("containerStatuses") or []


def _ready_containers(pod: Manifest) -> str:
    ready = sum(1 for container in _containers(pod) if container.get("ready"))
    return f"{ready}/{len(pod['spec'].get('containers', ()))}"


def _restarts(pod: Manifest) -> str:
    return str(sum(int(container.get("restartCount", 0)) for container in _containers(pod)))


def _conditions(manifest: Manifest) -> str:
    """What holds, and what does not though it should, with the reason."""
    conditions: list[Manifest] = _status(manifest).get("conditions") or []
    return ", ".join(
        f"{one['type']}" if one.get("status") == "True" else f"not {one['type']} ({one.get('reason', 'unknown')})"
        for one in conditions
        if one.get("status") == "True" or one["type"] not in FINE_WHEN_FALSE
    )


def _field(*path: str) -> Callable[[Manifest], str]:
    def read(manifest: Manifest) -> str:
        value: Any = manifest
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return "" if value is None else str(value)

    return read


def _backends(model: Manifest) -> str:
    ready = {one.get("name"): one.get("replicas", 0) for one in _status(model).get("backendStatuses") or []}
    wanted = model["spec"].get("backends", ())
    return ", ".join(f"{one['name']} {ready.get(one['name'], 0)}/{one.get('minReplicas', 1)}" for one in wanted)


def _targets(route: Manifest) -> str:
    rules = route["spec"].get("rules", ())
    return ", ".join(target["modelServerName"] for rule in rules for target in rule.get("targetModels", ()))


def _metrics(policy: Manifest) -> str:
    return ", ".join(f"{one['metricName']}={one['targetValue']}" for one in policy["spec"].get("metrics", ()))


def _scaled(binding: Manifest) -> str:
    """`name[/role] replicas (min-max)`; `?` for the replicas of what does not exist."""
    now = {(one["name"], one.get("role", "")): one["currentReplicas"] for one in _status(binding).get("targets") or []}
    return ", ".join(
        f"{'/'.join(filter(None, claim))} {now.get(claim, '?')} ({one.get('minReplicas', 1)}-{one['maxReplicas']})"
        for claim, one in _bounds(binding["spec"])
    )


def _bounds(spec: Manifest) -> Iterator[tuple[tuple[str, str], Manifest]]:
    """What is scaled: the name of the ModelInfer, the role or nothing, and what has the bounds."""
    split = spec.get("disaggregatedConfiguration") or {}
    for role, one in split.get("roles", {}).items():
        yield (split["targetRef"]["name"], role), one
    alone = [spec["scalingConfiguration"]] if spec.get("scalingConfiguration") else []
    for one in [*alone, *(spec.get("optimizerConfiguration") or {}).get("params", ())]:
        yield (one["target"]["targetRef"]["name"], one["target"].get("roleName", "")), one


def _out_of(ready: str, wanted: Callable[[Manifest], object]) -> Callable[[Manifest], str]:
    return lambda manifest: f"{_status(manifest).get(ready, 0)}/{wanted(manifest)}"


COLUMNS: dict[str, list[Column]] = {
    "Model": [
        ("BACKENDS", _backends),
        ("STATE", _conditions),
    ],
    "ModelServer": [
        ("ENGINE", _field("spec", "inferenceEngine")),
        ("PODS", _out_of("readyPods", lambda one: _status(one).get("pods", 0))),
        ("STATE", _conditions),
    ],
    "ModelRoute": [
        ("MODEL", _field("spec", "modelName")),
        ("TARGETS", _targets),
        ("STATE", _conditions),
    ],
    "ModelInfer": [
        ("AVAILABLE", _out_of("availableReplicas", lambda one: one["spec"].get("replicas", 1))),
        ("UPDATED", _field("status", "updatedReplicas")),
        ("STATE", _conditions),
    ],
    "AutoScalingPolicy": [
        ("METRICS", _metrics),
        ("BINDINGS", lambda policy: str(_status(policy).get("bindings", 0))),
        ("STATE", _conditions),
    ],
    "AutoScalingPolicyBinding": [
        ("POLICY", _field("spec", "policyRef", "name")),
        ("TARGETS", _scaled),
        ("STATE", _conditions),
    ],
    "ControllerRevision": [("REVISION", _field("revision"))],
    "Pod": [
        ("READY", _ready_containers),
        ("STATUS", pod_state),
        ("RESTARTS", _restarts),
        ("NODE", _field("spec", "nodeName")),
    ],
}
"""A kind that is not named here shows its conditions."""
