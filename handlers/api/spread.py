"""How Kubernetes' scheduler spreads Pods over zones, racks or nodes: the part of a core PodSpec that says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from matrixinfer.handlers.api.meta import Labels, Part, Whole


class LabelRequirement(Part):
    key: Annotated[str, Field(min_length=1, max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Part):
    match_labels: Labels = Field(default={})
    match_expressions: tuple[LabelRequirement, ...] = ()


class TopologySpreadConstraint(Part):
    max_skew: Annotated[Whole, Field(ge=1)] = 1
    """So many more pods may be in one part of the topology than in the emptiest."""

    topology_key: Annotated[str, Field(min_length=1, max_length=317)]
    """The label of nodes that names the part, e.g. `topology.kubernetes.io/zone`."""

    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "DoNotSchedule"
    label_selector: LabelSelector | None = None
    """Which pods count; of a ModelInfer's constraint, where this is absent, all pods of the ModelInfer."""

    min_domains: Annotated[Whole, Field(ge=1)] | None = None
    match_label_keys: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
