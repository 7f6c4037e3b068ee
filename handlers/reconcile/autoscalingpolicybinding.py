"""AutoScalingPolicyBinding → its status: does what it refers to exist, and may it scale it? Pure.

Nothing is scaled here. Of two bindings for one ModelInfer or role the oldest wins; the loser scales nothing at all, and
says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import (
    AutoScalingPolicyBinding,
    AutoScalingPolicyBindingStatus,
    Scaled,
    TargetStatus,
)
from matrixinfer.handlers.api.conditions import condition, updated
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelinfer import MOST_PODS, ModelInfer
from matrixinfer.handlers.api.scalingtarget import Claim
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.plan import Plan, listed
from matrixinfer.handlers.reconcile.precedence import holders

Infers = Mapping[str, ModelInfer]
Replicas = Mapping[Claim, int]
"""Of the targets that exist."""


def decide(
    binding: AutoScalingPolicyBinding,
    others: Iterable[AutoScalingPolicyBinding],
    policy: AutoScalingPolicy | None,
    infers: Infers,
    *,
    now: float,
) -> Plan:
    """`others`: the other bindings of its namespace. `policy`: the one that it names. `infers`: the ModelInfers of its
    namespace by name."""
    replicas = {claim: count for claim in binding.claims if (count := asked_replicas(claim, infers)) is not None}
    conditions = (
        _accepted(binding, others, policy),
        _policy_found(binding, policy),
        _target_found(binding, infers, replicas),
        _within_bounds(binding, replicas, infers),
    )
    generation = binding.metadata.generation
    status = AutoScalingPolicyBindingStatus(
        observed_generation=generation,
        targets=tuple(_targets(binding, replicas)),
        conditions=updated(binding.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )
    return Plan(status=None if status == binding.status else binding.model_copy(update={"status": status}))


def asked_replicas(claim: Claim, infers: Infers) -> int | None:
    """Groups, or instances of the role in each group, that the ModelInfer's spec asks for; None: there is no such
    ModelInfer, or it has no such role."""
    infer = infers.get(claim.name)
    if infer is None:
        return None
    if not claim.role:
        return infer.spec.replicas
    return next((role.replicas for role in infer.spec.template.roles if role.name == claim.role), None)


def _targets(binding: AutoScalingPolicyBinding, replicas: Replicas) -> Iterator[TargetStatus]:
    """What was decided about a target before stays."""
    before = {Claim(one.name, one.role): one for one in binding.status.targets}
    for claim, count in replicas.items():
        known = before.get(claim) or TargetStatus(name=claim.name, role=claim.role, current_replicas=count)
        yield known.model_copy(update={"current_replicas": count})


def _accepted(
    binding: AutoScalingPolicyBinding, others: Iterable[AutoScalingPolicyBinding], policy: AutoScalingPolicy | None
) -> Condition:
    taken = _taken(binding, others)
    if taken:
        return condition("Accepted", False, "TargetTaken", f"{taken}; delete one of the bindings or change its target")
    strange = _without_use(binding, policy)
    if strange:
        message = f"metricSources of {listed(strange)}, but no such metric decides there; correct the name or remove it"
        return condition("Accepted", False, "UnknownMetric", message)
    return condition("Accepted", True, "Accepted", f"scales {listed(map(str, binding.claims))}")


def _taken(binding: AutoScalingPolicyBinding, others: Iterable[AutoScalingPolicyBinding]) -> str:
    """What older bindings scale of it, and the oldest of them."""
    rivals = holders(binding, others, lambda one, other: bool(_shared(one, other)))
    if not rivals:
        return ""
    oldest = rivals[0]
    claims = listed(str(claim) for claim in _shared(binding, oldest))
    return f"the older binding {oldest.metadata.name} scales {claims}"


def _shared(binding: AutoScalingPolicyBinding, other: AutoScalingPolicyBinding) -> list[Claim]:
    """As the other one claims it."""
    return [theirs for theirs in other.claims if any(ours.overlaps(theirs) for ours in binding.claims)]


def _without_use(binding: AutoScalingPolicyBinding, policy: AutoScalingPolicy | None) -> set[str]:
    """Metrics with a source that decide nothing. Without a policy nobody knows which those of a policy are."""
    strange: set[str] = set()
    for scaled in binding.spec.scaled:
        deciding = _metrics(scaled, policy)
        strange |= scaled.sources - deciding if deciding is not None else frozenset()
    return strange


def _metrics(scaled: Scaled, policy: AutoScalingPolicy | None) -> set[str] | None:
    metrics = scaled.metrics or (policy.spec.metrics if policy is not None else None)
    return None if metrics is None else {metric.metric_name for metric in metrics}


def _policy_found(binding: AutoScalingPolicyBinding, policy: AutoScalingPolicy | None) -> Condition:
    name = binding.spec.policy_ref.name
    if policy is None:
        message = f"no AutoScalingPolicy {name} in namespace {binding.metadata.namespace}"
        return condition("PolicyFound", False, "PolicyNotFound", message)
    return condition("PolicyFound", True, "Found", f"AutoScalingPolicy {name} exists")


def _target_found(binding: AutoScalingPolicyBinding, infers: Infers, replicas: Replicas) -> Condition:
    nowhere = {claim.name for claim in binding.claims} - infers.keys()
    if nowhere:
        message = f"no ModelInfer {listed(nowhere)} in namespace {binding.metadata.namespace}"
        return condition("TargetFound", False, "ModelInferNotFound", message)
    without_role = [claim for claim in binding.claims if claim not in replicas]
    if without_role:
        return condition("TargetFound", False, "RoleNotFound", f"no {listed(map(str, without_role))}")
    return condition("TargetFound", True, "Found", "every target exists")


def _within_bounds(binding: AutoScalingPolicyBinding, replicas: Replicas, infers: Infers) -> Condition:
    """Of the targets that exist."""
    if not replicas:
        return condition("WithinBounds", False, "NoTarget", "no target exists")
    outside = [
        one for one in binding.spec.scaled if one.claim in replicas and not one.bounds.holds(replicas[one.claim])
    ]
    if outside:
        message = listed(_outside(one, replicas[one.claim]) for one in outside)
        return condition("WithinBounds", False, "OutOfBounds", message)
    too_large = list(_too_large(binding, infers))
    if too_large:
        return condition("WithinBounds", False, "TooManyPods", listed(too_large))
    return condition("WithinBounds", True, "WithinBounds", "every target has as many replicas as its bounds allow")


def _outside(scaled: Scaled, count: int) -> str:
    low, high = scaled.bounds.min_replicas, scaled.bounds.max_replicas
    return f"{scaled.claim} has {count} (expected {low} to {high})"


def _too_large(binding: AutoScalingPolicyBinding, infers: Infers) -> Iterator[str]:
    """Where the upper bounds allow more than a ModelInfer may have: the last steps would be refused."""
    for name in sorted({claim.name for claim in binding.claims} & infers.keys()):
        most = {one.claim.role: one.bounds.max_replicas for one in binding.spec.scaled if one.claim.name == name}
        spec = infers[name].spec
        group = sum(most.get(role.name, role.replicas) * (1 + role.worker_replicas) for role in spec.template.roles)
        pods = most.get("", spec.replicas) * group
        if pods > MOST_PODS:
            yield f"ModelInfer {name} has {pods} pods at maxReplicas (expected at most {MOST_PODS}); lower maxReplicas"
