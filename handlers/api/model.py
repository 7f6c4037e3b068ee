"""Model: "give me this model", with one backend for each engine or kind of hardware."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.backend import Backend
from matrixinfer.handlers.api.meta import Condition, OptionalName, Part, Resource, Whole
from matrixinfer.handlers.api.modelinfer import MOST_PODS
from matrixinfer.handlers.api.modelroute import ModelMatch
from matrixinfer.handlers.api.patterns import SERVED_NAME
from matrixinfer.handlers.api.rules import Rule

LONGEST_CHILD_NAME = 40
"""Characters that `<model>-<backend>` may have, so that the names of its pods stay DNS labels."""


class ModelSpec(Part):
    RULES = (
        Rule(
            "self.backends.all(a, self.backends.exists_one(b, b.name == a.name))", "backends must have different names"
        ),
        Rule(
            "!has(self.autoscalingPolicy) || self.autoscalingPolicy == ''"
            " || self.backends.all(b, !has(b.autoscalingPolicy) || b.autoscalingPolicy == '')",
            "autoscalingPolicy is the model's, for all backends together, or that of its backends, not both",
        ),
    )

    name: Annotated[str, Field(max_length=128, pattern=SERVED_NAME)] = ""
    """What clients write as `model`; empty: the object's own name."""

    owner: str = ""
    """Free text for `/v1/models`."""

    backends: Annotated[tuple[Backend, ...], Field(min_length=1, max_length=16)]
    """One for each engine or kind of hardware; requests are shared among them by their `routeWeight`."""

    autoscaling_policy: OptionalName = ""
    """An AutoScalingPolicy of the namespace: all backends are scaled by it together, at the least `scalingCost`."""

    cost_expansion_rate_percent: Annotated[Whole, Field(ge=0, le=10_000)] = 200
    """For `autoscalingPolicy`: how fast the steps grow in which a backend is filled up before the next dearer one."""

    model_match: ModelMatch | None = None
    """Restricts the generated route to requests that match."""

    @model_validator(mode="after")
    def _few_enough_pods(self) -> Self:
        for field, counts in (
            ("minReplicas", [backend.min_replicas * backend.pods for backend in self.backends]),
            ("maxReplicas", [(backend.max_replicas or 0) * backend.pods for backend in self.backends]),
        ):
            if sum(counts) > MOST_PODS:
                terms = " + ".join(f"{b.name}: {count}" for b, count in zip(self.backends, counts, strict=True))
                raise ValueError(
                    f"{field} of all backends ({terms}) makes {sum(counts)} pods; "
                    f"expected at most {MOST_PODS} pods for one Model"
                )
        return self

    @model_validator(mode="after")
    def _scaled_once(self) -> Self:
        if self.autoscaling_policy and any(backend.autoscaling_policy for backend in self.backends):
            raise ValueError(
                "autoscalingPolicy is the model's, for all backends together, or that of its backends, not both"
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
    reason: str = ""
    """Why there are not all of them, in one word; `message` says more."""
    message: str = ""


class ModelStatus(Part):
    observed_generation: int = 0
    backend_statuses: tuple[BackendStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()
    """`Initialized`: the children exist. `WeightsReady`: every backend with replicas has loaded its weights somewhere.
    `Available`: the model answers. `Failed`: something needs a person, and the message says what.
    `Autoscaled`, where policies are named: they apply."""


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
