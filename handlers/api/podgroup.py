"""The subset of Volcano's PodGroup that we write and read: Pods that are scheduled together or not at all."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from matrixinfer.handlers.api.gang import NetworkTopology
from matrixinfer.handlers.api.meta import Part, Resource, Whole
from matrixinfer.handlers.api.quantities import Quantity
from matrixinfer.handlers.api.spread import LabelSelector

SCHEDULER = "volcano"
"""The name of the scheduler that knows the kind."""
QUEUE = "scheduling.volcano.sh/queue-name"
"""Annotation of a ModelInfer: the Volcano queue that its groups wait in."""
GROUP_NAME = "scheduling.k8s.io/group-name"
"""Annotation of a Pod: its PodGroup."""
TASK = "volcano.sh/task-spec"
"""Annotation of a Pod: which of its group's tasks it is part of."""


class SubGroup(Part):
    """Of one role: Pods with the same values of `matchLabelKeys` are one sub-group, here one instance."""

    name: str
    label_selector: LabelSelector
    match_label_keys: tuple[str, ...] = ()
    sub_group_size: Whole
    min_sub_groups: Whole | None = None
    network_topology: NetworkTopology | None = None


class PodGroupSpec(Part):
    min_member: Whole = 0
    min_resources: dict[str, Quantity] = Field(default={})
    queue: str = ""
    network_topology: NetworkTopology | None = None
    sub_group_policy: tuple[SubGroup, ...] = ()


class PodGroup(Resource):
    API_VERSION: ClassVar[str] = "scheduling.volcano.sh/v1beta1"

    api_version: str = "scheduling.volcano.sh/v1beta1"
    kind: Literal["PodGroup"] = "PodGroup"
    spec: PodGroupSpec = PodGroupSpec()
