"""How the requests of a pool are dispatched: part of the ModelServer, and of the Model's backends that make one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from matrixinfer.handlers.api.durations import Duration
from matrixinfer.handlers.api.kubernetes import JsonObject
from matrixinfer.handlers.api.meta import Part, Whole

TenantWeight = Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)]
PluginName = Annotated[str, Field(min_length=1, max_length=63)]


class PluginChoice(Part):
    """One of docs/plugins.md, or of an installed package."""

    name: PluginName
    parameters: JsonObject = Field(default_factory=dict)
    """Checked by dispatch when it loads the profile. What is not named has the plug-in's default."""


class ScorerChoice(PluginChoice):
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    """It counts so much over the sum of all weights."""


class SchedulingProfile(Part):
    """Filters in their order, then scorers, then one picker: which pod gets a request."""

    name: Annotated[str, Field(max_length=63)] = "custom"
    """How decisions call it."""
    filters: tuple[PluginChoice, ...] = ()
    scorers: Annotated[tuple[ScorerChoice, ...], Field(min_length=1)]
    picker: PluginChoice | None = None
    """Absent: the best score, among equals one by chance."""


class Disaggregation(Part):
    """Of a pool with prefill and decode pods: which requests are split between two of them."""

    mode: Literal["off", "always", "auto"] = "auto"
    """`off`: none. `always`: all, while a pair serves. `auto`: those with more than `thresholdTokens` to compute."""

    threshold_tokens: Annotated[Whole, Field(ge=0)] = 512
    """A prompt of which no more than so many tokens are missing in a decode pod's cache is computed there: a remote
    prefill would take longer than it spares the others."""

    prefill_timeout: Duration = "2m"
    """How long the prefill half may take before the decode pod goes on without it."""

    transfer_timeout: Duration = "30s"
    """How long the first token may take after the prefill."""


class Dispatch(Part):
    shards: Annotated[Whole, Field(ge=1, le=64)] = 1
    """Dispatchers that share the pool, each with its own queue and its own part of the pods. More than one where one
    core cannot hold the rate: a shard's queue is fair in itself, and does not see that another's pods are free."""

    profile: SchedulingProfile | None = None
    """Absent: the default profile. A change holds from the next request on; one that cannot be used changes nothing,
    and the dispatcher's log says which field is wrong."""

    disaggregation: Disaggregation = Disaggregation()

    max_tpot: Duration | None = None
    """A pod gets no more requests than keep its output tokens so close together (the mean of an answer), by what it
    has shown so far; the rest waits in the queue. An empty pod always takes one. Absent: as many as there are slots."""

    tenant_weights: dict[str, TenantWeight] = Field(default_factory=dict)
    """Tenant and its share beside the others, 1 for who is not named: with 2 it gets twice as many tokens while both
    wait."""
