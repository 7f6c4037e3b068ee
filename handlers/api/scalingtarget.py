"""What can be scaled: the groups of a ModelInfer, or the instances of one of its roles; and between which bounds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.meta import DnsName, Part, Whole
from matrixinfer.handlers.api.metricsource import MetricSources
from matrixinfer.handlers.api.modelinfer import RoleName
from matrixinfer.handlers.api.rules import Rule

MOST_REPLICAS = 1_000_000
ORDERED = "maxReplicas must be at least minReplicas"


class TargetRef(Part):
    kind: Literal["ModelInfer"] = "ModelInfer"
    name: DnsName
    """A ModelInfer of the binding's own namespace."""


class Claim(NamedTuple):
    """What a binding scales: a ModelInfer's groups (`role` is empty), or the instances of one role in each group."""

    name: str
    role: str = ""

    def overlaps(self, other: Claim) -> bool:
        """Groups and a role of the same ModelInfer too: each would undo what the other does."""
        return self.name == other.name and (self.role == other.role or not self.role or not other.role)

    def __str__(self) -> str:
        return f"role {self.role} of ModelInfer {self.name}" if self.role else f"ModelInfer {self.name}"


class Bounds(Part):
    RULES: ClassVar[tuple[Rule, ...]] = (Rule("self.minReplicas <= self.maxReplicas", ORDERED),)

    min_replicas: Annotated[Whole, Field(ge=0, le=MOST_REPLICAS)] = 1
    """0: it may be scaled away; requests wait until it is back."""

    max_replicas: Annotated[Whole, Field(ge=1, le=MOST_REPLICAS)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"maxReplicas {self.max_replicas} must be at least minReplicas {self.min_replicas}")
        return self

    def holds(self, replicas: int) -> bool:
        return self.min_replicas <= replicas <= self.max_replicas


class Target(Part):
    target_ref: TargetRef

    role_name: RoleName | None = None
    """The instances of this role in each group are scaled; absent: the number of groups."""

    metric_sources: MetricSources = Field(default={})
    """For metrics of the policy that do not come from the agents' load reports."""

    @property
    def claim(self) -> Claim:
        return Claim(self.target_ref.name, self.role_name or "")
