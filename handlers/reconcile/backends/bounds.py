"""How many replicas a backend has: within its bounds, whoever scales decides. Pure."""

from __future__ import annotations

from matrixinfer.handlers.api.backend import Backend
from matrixinfer.handlers.api.modelinfer import ModelInfer


def wanted_replicas(backend: Backend, infer: ModelInfer | None) -> int:
    """`infer`: the backend's, as a policy or a person has scaled it; without `maxReplicas` nobody may."""
    if backend.max_replicas is None or infer is None:
        return backend.min_replicas
    return min(max(infer.spec.replicas, backend.min_replicas), backend.max_replicas)
