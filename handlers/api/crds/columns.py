"""What `kubectl get` shows of each kind, between its name and its age."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    name: str
    type: str
    path: str
    """A JSON path of kubectl's."""


def _condition(type_: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].status'


COLUMNS: dict[str, tuple[Column, ...]] = {
    "Model": (
        Column("Initialized", "string", _condition("Initialized")),
        Column("Available", "string", _condition("Available")),
    ),
    "ModelServer": (
        Column("Engine", "string", ".spec.inferenceEngine"),
        Column("Pods", "integer", ".status.pods"),
        Column("Ready", "integer", ".status.readyPods"),
    ),
    "ModelRoute": (
        Column("Model", "string", ".spec.modelName"),
        Column("Accepted", "string", _condition("Accepted")),
        Column("Resolved", "string", _condition("ResolvedRefs")),
    ),
    "ModelInfer": (
        Column("Replicas", "integer", ".spec.replicas"),
        Column("Available", "integer", ".status.availableReplicas"),
        Column("Updated", "integer", ".status.updatedReplicas"),
        Column("Progressing", "string", _condition("Progressing")),
    ),
    "AutoScalingPolicy": (
        Column("Tolerance", "integer", ".spec.tolerancePercent"),
        Column("Bindings", "integer", ".status.bindings"),
        Column("Accepted", "string", _condition("Accepted")),
    ),
    "AutoScalingPolicyBinding": (
        Column("Policy", "string", ".spec.policyRef.name"),
        Column("Accepted", "string", _condition("Accepted")),
        Column("Policy found", "string", _condition("PolicyFound")),
        Column("Target found", "string", _condition("TargetFound")),
        Column("Within bounds", "string", _condition("WithinBounds")),
    ),
}
