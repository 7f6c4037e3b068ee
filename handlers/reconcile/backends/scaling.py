"""The bindings by which a Model's policies scale its backends: each on its own, or all together. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from matrixinfer.handlers.api.autoscalingpolicybinding import (
    AutoScalingPolicyBindingSpec,
    OptimizerConfiguration,
    OptimizerParam,
    PolicyRef,
    ScalingConfiguration,
)
from matrixinfer.handlers.api.backend import Backend
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.scalingtarget import Target, TargetRef


def bindings_of(model: Model) -> Iterator[tuple[str, Backend | None, AutoScalingPolicyBindingSpec]]:
    """Their names, whose they are (None: all backends'), and what they say. A backend that may never have a replica is
    scaled by nobody."""
    scalable = [backend for backend in model.spec.backends if _most(backend)]
    policy = model.spec.autoscaling_policy
    if policy and scalable:
        params = tuple(
            OptimizerParam(
                target=_target(model, backend),
                cost=backend.scaling_cost,
                min_replicas=backend.min_replicas,
                max_replicas=_most(backend),
            )
            for backend in scalable
        )
        together = OptimizerConfiguration(
            params=params, cost_expansion_rate_percent=model.spec.cost_expansion_rate_percent
        )
        spec = AutoScalingPolicyBindingSpec(policy_ref=PolicyRef(name=policy), optimizer_configuration=together)
        yield model.metadata.name, None, spec
    for backend in scalable:
        if backend.autoscaling_policy:
            alone = ScalingConfiguration(
                target=_target(model, backend), min_replicas=backend.min_replicas, max_replicas=_most(backend)
            )
            ref = PolicyRef(name=backend.autoscaling_policy)
            spec = AutoScalingPolicyBindingSpec(policy_ref=ref, scaling_configuration=alone)
            yield model.child_name(backend), backend, spec


def _most(backend: Backend) -> int:
    return backend.min_replicas if backend.max_replicas is None else backend.max_replicas


def _target(model: Model, backend: Backend) -> Target:
    return Target(target_ref=TargetRef(name=model.child_name(backend)))
