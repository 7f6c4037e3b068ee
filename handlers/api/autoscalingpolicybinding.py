"""AutoScalingPolicyBinding: which ModelInfers, or which of their roles, a policy scales, and between which bounds."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.autoscalingpolicy import Metric
from matrixinfer.handlers.api.disaggregatedscaling import DisaggregatedConfiguration
from matrixinfer.handlers.api.meta import Condition, DnsName, Part, Resource, Whole
from matrixinfer.handlers.api.rules import Rule
from matrixinfer.handlers.api.scalingtarget import MOST_REPLICAS, Bounds, Claim, Target

ONE_CONFIGURATION = "expected one of scalingConfiguration, optimizerConfiguration and disaggregatedConfiguration"
DIFFERENT_TARGETS = "params must have different targets"


class PolicyRef(Part):
    name: DnsName
    """An AutoScalingPolicy of the binding's own namespace."""


class ScalingConfiguration(Bounds):
    """One target on its own."""

    target: Target


class OptimizerParam(Bounds):
    target: Target

    cost: Annotated[Whole, Field(ge=0, le=MOST_REPLICAS)] = 1
    """Of one replica, beside those of the other targets."""


class OptimizerConfiguration(Part):
    """Several targets that do the same at different costs: the cheapest are filled first."""

    RULES = (
        Rule(
            "self.params.all(a, self.params.exists_one(b, a.target.targetRef.name == b.target.targetRef.name"
            " && (!has(a.target.roleName) || !has(b.target.roleName) || a.target.roleName == b.target.roleName)))",
            DIFFERENT_TARGETS,
        ),
    )

    params: Annotated[tuple[OptimizerParam, ...], Field(min_length=1, max_length=16)]

    cost_expansion_rate_percent: Annotated[Whole, Field(ge=0, le=10_000)] = 200
    """What lies between a target's bounds is filled in steps, each so much larger than the one before. Up to 100: all
    in one step."""

    @model_validator(mode="after")
    def _targets_differ(self) -> Self:
        claims = [param.target.claim for param in self.params]
        for claim in claims:
            if sum(claim.overlaps(other) for other in claims) > 1:
                raise ValueError(f"{DIFFERENT_TARGETS}, met {claim} more than once")
        return self


class Scaled(NamedTuple):
    """One number that a binding sets."""

    claim: Claim
    bounds: Bounds
    metrics: tuple[Metric, ...]
    """Its own; empty: those of the policy."""
    sources: frozenset[str]
    """The metrics that have a source of their own."""


class AutoScalingPolicyBindingSpec(Part):
    RULES = (
        Rule(
            "[has(self.scalingConfiguration), has(self.optimizerConfiguration), has(self.disaggregatedConfiguration)]"
            ".exists_one(x, x)",
            ONE_CONFIGURATION,
        ),
    )

    policy_ref: PolicyRef
    scaling_configuration: ScalingConfiguration | None = None
    optimizer_configuration: OptimizerConfiguration | None = None
    disaggregated_configuration: DisaggregatedConfiguration | None = None

    @model_validator(mode="after")
    def _one_configuration(self) -> Self:
        configurations = (self.scaling_configuration, self.optimizer_configuration, self.disaggregated_configuration)
        if configurations.count(None) != 2:
            raise ValueError(ONE_CONFIGURATION)
        return self

    @property
    def scaled(self) -> tuple[Scaled, ...]:
        """All that is scaled, in the order of the spec."""
        split = self.disaggregated_configuration
        if split is not None:
            return tuple(
                Scaled(Claim(split.target_ref.name, name), role, role.metrics, frozenset(role.metric_sources))
                for name, role in sorted(split.roles.items())
            )
        alone, several = self.scaling_configuration, self.optimizer_configuration
        params = several.params if several is not None else (alone,) if alone is not None else ()
        return tuple(Scaled(one.target.claim, one, (), frozenset(one.target.metric_sources)) for one in params)


class TargetStatus(Part):
    name: str
    role: str = ""
    current_replicas: int
    """What the target's spec asks for now: groups, or instances of the role in each group."""
    desired_replicas: int | None = None
    """What the policy wants; absent until it has been asked."""
    mode: Literal["Stable", "Panic"] = "Stable"
    last_scale_time: str | None = None


class AutoScalingPolicyBindingStatus(Part):
    observed_generation: int = 0
    targets: tuple[TargetStatus, ...] = ()
    """Those that exist."""
    conditions: tuple[Condition, ...] = ()
    """`Accepted`: the policy applies; not so where an older binding has one of the targets, or where a source is of a
    metric that nobody looks at. `PolicyFound`, `TargetFound`: what is referred to exists. `WithinBounds`: every target
    has as many replicas as its bounds allow."""


class AutoScalingPolicyBinding(Resource):
    """Which ModelInfers, or which of their roles, a policy scales, and between which bounds."""

    kind: Literal["AutoScalingPolicyBinding"] = "AutoScalingPolicyBinding"
    spec: AutoScalingPolicyBindingSpec
    status: AutoScalingPolicyBindingStatus = AutoScalingPolicyBindingStatus()

    @property
    def claims(self) -> tuple[Claim, ...]:
        return tuple(one.claim for one in self.spec.scaled)
