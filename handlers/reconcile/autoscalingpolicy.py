"""AutoScalingPolicy → its status: whether it can change anything, and who uses it. Pure.

What it says about replicas is done elsewhere, for each of its bindings.
"""

from __future__ import annotations

from collections.abc import Iterable

from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy, AutoScalingPolicyStatus, Behavior
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.conditions import condition, updated
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.plan import Plan, listed


def decide(policy: AutoScalingPolicy, bindings: Iterable[AutoScalingPolicyBinding], *, now: float) -> Plan:
    """`bindings`: those of the policy's namespace."""
    generation = policy.metadata.generation
    status = AutoScalingPolicyStatus(
        observed_generation=generation,
        bindings=sum(binding.spec.policy_ref.name == policy.metadata.name for binding in bindings),
        conditions=updated(policy.status.conditions, [_accepted(policy)], generation=generation, now=timestamp(now)),
    )
    return Plan(status=None if status == policy.status else policy.model_copy(update={"status": status}))


def _accepted(policy: AutoScalingPolicy) -> Condition:
    metrics = listed(metric.metric_name for metric in policy.spec.metrics)
    goes_up, goes_down = _directions(policy.spec.behavior)
    if not (goes_up or goes_down):
        message = "every step of scaleUp and scaleDown is 0: give instances or percent a value above 0"
        return condition("Accepted", False, "NeverScales", message)
    if not goes_up:
        return condition("Accepted", True, "OnlyDown", f"scales by {metrics}, never up: every step of scaleUp is 0")
    if not goes_down:
        return condition("Accepted", True, "OnlyUp", f"scales by {metrics}, never down: every step of scaleDown is 0")
    return condition("Accepted", True, "Accepted", f"scales by {metrics}")


def _directions(behavior: Behavior) -> tuple[bool, bool]:
    """Can it go up, and down?"""
    up = behavior.scale_up
    return up.stable_policy.can_step or up.panic_policy.can_step, behavior.scale_down.can_step
