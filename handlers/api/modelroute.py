"""ModelRoute: which requests for a model go to which pools, and in which shares."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.durations import Duration
from matrixinfer.handlers.api.meta import Condition, DnsName, Part, Resource, Whole
from matrixinfer.handlers.api.rules import Rule


class StringMatch(Part):
    """Compares with a whole string."""

    exact: str


class ModelMatch(Part):
    """All must match; an empty mapping matches every request."""

    headers: dict[str, StringMatch] = Field(default={})


class TargetModel(Part):
    model_server_name: DnsName
    """A ModelServer of the route's own namespace."""

    weight: Annotated[Whole, Field(ge=0, le=100)] = 100
    """Share of the rule's requests, relative to the other targets'."""


class RouteRule(Part):
    RULES = (Rule("self.targetModels.exists(t, t.weight > 0)", "at least one of targetModels needs a weight above 0"),)

    name: str = ""
    model_match: ModelMatch = ModelMatch()
    target_models: Annotated[tuple[TargetModel, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _somebody_gets_requests(self) -> Self:
        if not any(target.weight for target in self.target_models):
            raise ValueError("at least one of targetModels needs a weight above 0")
        return self


class ModelRouteSpec(Part):
    RULES = (
        Rule(
            "(has(self.modelName) && self.modelName != '') || (has(self.loraAdapters) && size(self.loraAdapters) > 0)",
            "modelName or loraAdapters must be set: nobody could ask for this route",
        ),
    )

    model_name: str = ""
    lora_adapters: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=1000)] = ()
    """Names of adapters for which this route answers too."""

    rules: Annotated[tuple[RouteRule, ...], Field(min_length=1, max_length=16)]
    """The first that matches decides."""

    timeout: Duration | None = None
    """Longest time for a whole answer; absent: the gateway's own."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.model_name and not self.lora_adapters:
            raise ValueError("modelName or loraAdapters must be set: nobody could ask for this route")
        return self


class ModelRouteStatus(Part):
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    """`Accepted`: no older route has the name. `ResolvedRefs`: every target exists."""


class ModelRoute(Resource):
    """Which requests for a model go to which pools, and in which shares."""

    kind: Literal["ModelRoute"] = "ModelRoute"
    spec: ModelRouteSpec
    status: ModelRouteStatus = ModelRouteStatus()

    @property
    def names(self) -> frozenset[str]:
        """All that a client may write as `model` to come here."""
        return frozenset(self.spec.lora_adapters) | ({self.spec.model_name} - {""})
