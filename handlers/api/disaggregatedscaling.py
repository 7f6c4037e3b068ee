"""The roles of one ModelInfer, scaled each for itself, with a ratio between two of them: prefill and decode."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.autoscalingpolicy import Metric, check_metrics, unique_metrics
from matrixinfer.handlers.api.meta import Part
from matrixinfer.handlers.api.metricsource import MetricSources
from matrixinfer.handlers.api.modelinfer import RoleName
from matrixinfer.handlers.api.quantities import Quantity, amount
from matrixinfer.handlers.api.rules import Rule
from matrixinfer.handlers.api.scalingtarget import Bounds, TargetRef

_ROUNDING = 1e-6
"""Ratios are compared with so much slack, here and in CEL: what is equal on paper is not refused."""


class RoleScaling(Bounds):
    """With equal bounds the role has a fixed number of instances."""

    RULES = (*Bounds.RULES, unique_metrics())

    metrics: Annotated[tuple[Metric, ...], Field(max_length=16)] = ()
    """Of this role; empty: those of the policy."""

    metric_sources: MetricSources = Field(default={})
    """For metrics that do not come from the agents' load reports."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        check_metrics(self.metrics)
        return self


class RatioConstraint(Part):
    """So many instances of the one role for each of the other."""

    RULES = (
        Rule("self.numeratorRole != self.denominatorRole", "numeratorRole and denominatorRole must be different roles"),
        Rule(
            "quantity(string(self.minRatio)).compareTo(quantity(string(self.maxRatio))) <= 0",
            "maxRatio must be at least minRatio",
        ),
    )

    numerator_role: RoleName
    denominator_role: RoleName
    min_ratio: Quantity
    max_ratio: Quantity

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.numerator_role == self.denominator_role:
            raise ValueError(
                f"numeratorRole and denominatorRole must be different roles, both are {self.numerator_role}"
            )
        if amount(self.max_ratio) < amount(self.min_ratio):
            raise ValueError(f"maxRatio must be at least minRatio, got {self.max_ratio} and {self.min_ratio}")
        return self


_NUMERATOR = "self.roles[self.ratioConstraint.numeratorRole]"
_DENOMINATOR = "self.roles[self.ratioConstraint.denominatorRole]"
_BOTH_ARE_THERE = (
    "self.ratioConstraint.numeratorRole in self.roles && self.ratioConstraint.denominatorRole in self.roles"
)
ROLES_OF_RATIO = "ratioConstraint must be about two of the roles"
BOTH_TO_ZERO = "either both roles of ratioConstraint may be scaled to 0, or none"
OUT_OF_REACH = "ratioConstraint cannot be kept between the bounds of its roles"


def _ratio(field: str) -> str:
    return f"quantity(string(self.ratioConstraint.{field})).asApproximateFloat()"


def _at_least_one(replicas: str) -> str:
    return f"double({replicas} > 0 ? {replicas} : 1)"


def _about_ratio(rule: str, message: str) -> Rule:
    """Without roles it would have nothing to look at: that is told by another rule."""
    return Rule(f"!has(self.ratioConstraint) || !({_BOTH_ARE_THERE}) || ({rule})", message)


class DisaggregatedConfiguration(Part):
    """The roles of one ModelInfer, each by its own metrics; the numbers are instances in each group."""

    RULES = (
        Rule(f"!has(self.ratioConstraint) || ({_BOTH_ARE_THERE})", ROLES_OF_RATIO),
        _about_ratio(f"({_NUMERATOR}.minReplicas == 0) == ({_DENOMINATOR}.minReplicas == 0)", BOTH_TO_ZERO),
        _about_ratio(
            f"double({_NUMERATOR}.maxReplicas) + {_ROUNDING} >="
            f" {_ratio('minRatio')} * {_at_least_one(f'{_DENOMINATOR}.minReplicas')}"
            f" && {_at_least_one(f'{_NUMERATOR}.minReplicas')} <="
            f" {_ratio('maxRatio')} * double({_DENOMINATOR}.maxReplicas) + {_ROUNDING}",
            OUT_OF_REACH,
        ),
    )

    target_ref: TargetRef
    roles: Annotated[dict[RoleName, RoleScaling], Field(min_length=1, max_length=16)]
    ratio_constraint: RatioConstraint | None = None

    @model_validator(mode="after")
    def _ratio_can_be_kept(self) -> Self:
        ratio = self.ratio_constraint
        if ratio is None:
            return self
        numerator, denominator = self.roles.get(ratio.numerator_role), self.roles.get(ratio.denominator_role)
        if numerator is None or denominator is None:
            raise ValueError(f"{ROLES_OF_RATIO}, got {ratio.numerator_role} and {ratio.denominator_role}")
        if (numerator.min_replicas == 0) != (denominator.min_replicas == 0):
            raise ValueError(BOTH_TO_ZERO)
        most = numerator.max_replicas / max(1, denominator.min_replicas)
        least = max(1, numerator.min_replicas) / denominator.max_replicas
        if not _overlap(numerator, denominator, ratio):
            raise ValueError(
                f"{OUT_OF_REACH}: these allow {least:g} to {most:g}, wanted is {ratio.min_ratio} to {ratio.max_ratio}"
            )
        return self


def _overlap(numerator: Bounds, denominator: Bounds, ratio: RatioConstraint) -> bool:
    """What the bounds allow, and what is wanted. Where both are 0 there is no ratio."""
    is_not_too_low = numerator.max_replicas + _ROUNDING >= amount(ratio.min_ratio) * max(1, denominator.min_replicas)
    is_not_too_high = max(1, numerator.min_replicas) <= amount(ratio.max_ratio) * denominator.max_replicas + _ROUNDING
    return is_not_too_low and is_not_too_high
