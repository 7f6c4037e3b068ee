"""ModelRoute: which requests for a model go to which pools, and in which shares."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.patterns import matcher
from matrixinfer.handlers.api.durations import Duration
from matrixinfer.handlers.api.meta import Condition, DnsName, Part, Resource, Whole
from matrixinfer.handlers.api.patterns import HEADER_NAME
from matrixinfer.handlers.api.rules import Rule

LONGEST_PATTERN = 256

Text = Annotated[str, Field(min_length=1, max_length=1024)]
Count = Annotated[Whole, Field(ge=1, le=10**15)]


class StringMatch(Part):
    """Compares in one of three ways."""

    RULES = (
        Rule(
            "[has(self.exact), has(self.prefix), has(self.regex)].exists_one(x, x)",
            "expected one of exact, prefix and regex",
        ),
    )

    exact: Annotated[str, Field(max_length=1024)] | None = None
    """The whole of it."""
    prefix: Text | None = None
    """How it begins."""
    regex: Annotated[str, Field(min_length=1, max_length=LONGEST_PATTERN)] | None = None
    """Matches the whole of it (RE2's syntax: no look-around, no back-references)."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if [self.exact, self.prefix, self.regex].count(None) != 2:
            raise ValueError("expected one of exact, prefix and regex")
        if self.regex is not None:
            try:
                matcher(self.regex)
            except Malformed as error:
                raise ValueError(f"regex {error}") from error
        return self


class BodyMatch(Part):
    model: Text
    """What the request says as `model`: tells apart the names that lead to one route."""


class ModelMatch(Part):
    """All must match; an empty mapping matches every request."""

    headers: Annotated[
        dict[Annotated[str, Field(max_length=256, pattern=HEADER_NAME)], StringMatch], Field(max_length=16)
    ] = Field(default={})
    """By name, in any case."""
    uri: StringMatch | None = None
    """The path of the request, e.g. `/v1/chat/completions`; on NATS that of the endpoint."""
    body: BodyMatch | None = None


class TargetModel(Part):
    model_server_name: DnsName
    """A ModelServer of the route's own namespace."""

    weight: Annotated[Whole, Field(ge=0, le=100)] = 100
    """Share of the rule's requests, relative to the other targets'. One without a ready Pod gets none while another
    has one."""


class RouteRule(Part):
    RULES = (Rule("self.targetModels.exists(t, t.weight > 0)", "at least one of targetModels needs a weight above 0"),)

    name: Annotated[str, Field(max_length=253)] = ""
    model_match: ModelMatch = ModelMatch()
    target_models: Annotated[tuple[TargetModel, ...], Field(min_length=1, max_length=16)]

    fallbacks: Annotated[tuple[DnsName, ...], Field(max_length=8)] = ()
    """ModelServers of the same namespace that get the requests while no target has a ready Pod: the first that has one.
    Where none of them has one either, requests wait at the targets."""

    @model_validator(mode="after")
    def _somebody_gets_requests(self) -> Self:
        if not any(target.weight for target in self.target_models):
            raise ValueError("at least one of targetModels needs a weight above 0")
        return self


class RateLimit(Part):
    """What may be asked for in each unit of time, over all gateways."""

    RULES = (
        Rule(
            "has(self.inputTokensPerUnit) || has(self.outputTokensPerUnit) || has(self.requestsPerUnit)",
            "expected inputTokensPerUnit, outputTokensPerUnit or requestsPerUnit",
        ),
    )

    input_tokens_per_unit: Count | None = None
    output_tokens_per_unit: Count | None = None
    requests_per_unit: Count | None = None
    unit: Literal["second", "minute", "hour", "day", "month"] = "second"
    """A month has 30 days."""
    per: Literal["route", "tenant"] = "route"
    """Whose: of all together, or of each tenant for itself."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.input_tokens_per_unit is self.output_tokens_per_unit is self.requests_per_unit is None:
            raise ValueError("expected inputTokensPerUnit, outputTokensPerUnit or requestsPerUnit")
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

    rate_limit: RateLimit | None = None
    """Told to the gateways, which do not enforce it yet: the condition `RateLimited` says so."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.model_name and not self.lora_adapters:
            raise ValueError("modelName or loraAdapters must be set: nobody could ask for this route")
        return self


class ModelRouteStatus(Part):
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    """`Accepted`: no older route has the name. `ResolvedRefs`: every target and fallback exists.
    `RateLimited`, where there is a limit: it is enforced."""


class ModelRoute(Resource):
    """Which requests for a model go to which pools, and in which shares."""

    kind: Literal["ModelRoute"] = "ModelRoute"
    spec: ModelRouteSpec
    status: ModelRouteStatus = ModelRouteStatus()

    @property
    def names(self) -> frozenset[str]:
        """All that a client may write as `model` to come here."""
        return frozenset(self.spec.lora_adapters) | ({self.spec.model_name} - {""})
