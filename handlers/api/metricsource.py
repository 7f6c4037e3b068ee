"""Where the value of a metric comes from, when it does not come from the agents' own load reports."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.autoscalingpolicy import MetricName
from matrixinfer.handlers.api.meta import Labels, Part, Whole
from matrixinfer.handlers.api.patterns import ABSOLUTE_PATH, BASE_URL
from matrixinfer.handlers.api.rules import Rule

ONE_SOURCE = "expected one of pod and prometheus"


class LabelSelector(Part):
    match_labels: Annotated[Labels, Field(max_length=64)] = Field(default={})


class PodMetricSource(Part):
    """Every entry pod of the target is asked, in Prometheus' text format."""

    name: Annotated[str, Field(max_length=253)] = ""
    """Of the metric as the pod says it; empty: the metric's own."""
    uri: Annotated[str, Field(max_length=1024, pattern=ABSOLUTE_PATH)] = "/metrics"
    port: Annotated[Whole, Field(ge=1, le=65535)] = 8100
    label_selector: LabelSelector = LabelSelector()
    """Only the pods that have these labels too."""


class PrometheusMetricSource(Part):
    """One query, whose answer is one number: the total of all replicas."""

    server_url: Annotated[str, Field(max_length=1024, pattern=BASE_URL)]
    query: Annotated[str, Field(min_length=1, max_length=4096)]


class MetricSource(Part):
    RULES = (Rule("has(self.pod) != has(self.prometheus)", ONE_SOURCE),)

    pod: PodMetricSource | None = None
    prometheus: PrometheusMetricSource | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.pod is None) == (self.prometheus is None):
            raise ValueError(ONE_SOURCE)
        return self


MetricSources = Annotated[dict[MetricName, MetricSource], Field(max_length=16)]
"""By the metric's name. A metric that is not named here comes from the agents' load reports, which are on the bus."""
