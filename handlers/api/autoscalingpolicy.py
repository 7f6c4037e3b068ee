"""AutoScalingPolicy: how much each replica shall carry, and how fast their number may follow. To what it is applied, an
AutoScalingPolicyBinding says."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from matrixinfer.handlers.api.durations import Duration, seconds
from matrixinfer.handlers.api.meta import Condition, Part, Resource, Whole
from matrixinfer.handlers.api.patterns import METRIC_NAME
from matrixinfer.handlers.api.quantities import Quantity, amount
from matrixinfer.handlers.api.rules import Rule

LONGEST_WINDOW = "30m"

MetricName = Annotated[str, Field(min_length=1, max_length=253, pattern=METRIC_NAME)]


def _not_too_long(window: str) -> str:
    if seconds(window) > seconds(LONGEST_WINDOW):
        raise ValueError(f"must be at most {LONGEST_WINDOW}, got {window}")
    return window


Window = Annotated[Duration, AfterValidator(_not_too_long)]
Percent = Annotated[Whole, Field(ge=0, le=1000)]


def _at_most(field: str) -> Rule:
    return Rule(f"duration(self.{field}) <= duration('{LONGEST_WINDOW}')", f"{field} must be at most {LONGEST_WINDOW}")


class Metric(Part):
    RULES = (
        Rule(
            "type(self.targetValue) == int ? self.targetValue > 0 :"
            " quantity(string(self.targetValue)).isGreaterThan(quantity('0'))",
            "targetValue must be more than 0",
        ),
    )

    metric_name: MetricName
    target_value: Quantity
    """Of one replica, on average: with more, replicas are added, with less, they are taken away."""

    @model_validator(mode="after")
    def _is_something(self) -> Self:
        if amount(self.target_value) <= 0:
            raise ValueError(f"targetValue must be more than 0, got {self.target_value}")
        return self


UniqueMetrics = Annotated[tuple[Metric, ...], Field(min_length=1, max_length=16)]
UNIQUE_METRICS = "metrics must have different names"


def unique_metrics(holder: str = "self") -> Rule:
    metrics = f"{holder}.metrics"
    return Rule(
        f"!has({metrics}) || {metrics}.all(a, {metrics}.exists_one(b, b.metricName == a.metricName))", UNIQUE_METRICS
    )


def check_metrics(metrics: tuple[Metric, ...]) -> None:
    names = [metric.metric_name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{UNIQUE_METRICS}, met {name!r} {names.count(name)} times")


class StablePolicy(Part):
    """How fast the number may change in quiet times."""

    RULES = (_at_most("period"), _at_most("stabilizationWindow"))

    instances: Annotated[Whole, Field(ge=0, le=1_000_000)] = 4
    """So many more or fewer in each `period`."""

    percent: Percent = 100
    """Such a share more or fewer in each `period`."""

    period: Window = "15s"

    select_policy: Literal["Or", "And"] = "Or"
    """Which of the two limits counts: the wider (`Or`) or the narrower (`And`)."""

    stabilization_window: Window = "0s"
    """The number changes as far as all recommendations of this time agree."""

    @property
    def can_step(self) -> bool:
        steps = (self.instances > 0, self.percent > 0)
        return any(steps) if self.select_policy == "Or" else all(steps)


class ScaleDownPolicy(StablePolicy):
    """How fast the number may fall. By default it takes its time, and then goes all the way."""

    instances: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
    """So many fewer in each `period`."""

    stabilization_window: Window = "5m"
    """The number falls as far as all recommendations of this time agree."""


class PanicPolicy(Part):
    """What applies instead of the stable policy while there is far too much to do; nothing is taken away meanwhile."""

    RULES = (_at_most("period"), _at_most("panicModeHold"))

    percent: Percent = 1000
    """Such a share more in each `period`."""

    period: Window = "15s"

    panic_threshold_percent: Annotated[Whole, Field(ge=110, le=1000)] = 200
    """Panic begins when so much of the present number is needed."""

    panic_mode_hold: Window = "1m"
    """So long it goes on after its cause has ended; `0s`: there is no panic."""

    @property
    def can_step(self) -> bool:
        return self.percent > 0 and seconds(self.panic_mode_hold) > 0


class ScaleUp(Part):
    stable_policy: StablePolicy = StablePolicy()
    panic_policy: PanicPolicy = PanicPolicy()


class Behavior(Part):
    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDownPolicy = ScaleDownPolicy()


class AutoScalingPolicySpec(Part):
    RULES = (unique_metrics(),)

    tolerance_percent: Annotated[Whole, Field(ge=0, le=100)] = 10
    """The number stays as it is while what is measured differs from what is wanted by no more than this share."""

    metrics: UniqueMetrics
    """The one that needs the most replicas decides."""

    behavior: Behavior = Behavior()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        check_metrics(self.metrics)
        return self


class AutoScalingPolicyStatus(Part):
    observed_generation: int = 0
    bindings: int = 0
    """AutoScalingPolicyBindings that name this policy."""
    conditions: tuple[Condition, ...] = ()
    """`Accepted`: it can change a number of replicas."""


class AutoScalingPolicy(Resource):
    """How much each replica shall carry, and how fast their number may follow."""

    kind: Literal["AutoScalingPolicy"] = "AutoScalingPolicy"
    spec: AutoScalingPolicySpec
    status: AutoScalingPolicyStatus = AutoScalingPolicyStatus()
