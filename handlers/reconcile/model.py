"""Model → for each backend a ModelInfer and a ModelServer, and one ModelRoute over all of them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.backend import Backend
from matrixinfer.handlers.api.conditions import condition, find, updated
from matrixinfer.handlers.api.container import Container, EnvVar
from matrixinfer.handlers.api.meta import Condition, Metadata, Resource, owned_by
from matrixinfer.handlers.api.model import BackendStatus, Model, ModelStatus
from matrixinfer.handlers.api.modelinfer import (
    InferGroupTemplate,
    ModelInfer,
    ModelInferSpec,
    PodTemplate,
    PodTemplateMetadata,
    Role,
)
from matrixinfer.handlers.api.modelroute import ModelMatch, ModelRoute, ModelRouteSpec, RouteRule, TargetModel
from matrixinfer.handlers.api.modelserver import ModelServer, ModelServerSpec, WorkloadSelector
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.plan import Plan, differs, listed

ROLE = "server"
GRACE_S = 40
"""Longer than an agent's drain time (30 s), so that running answers end by themselves."""

Key = tuple[str, str, str]


def decide(model: Model, nearby: Iterable[Resource], *, agent_image: str, now: float) -> Plan:
    """`nearby`: every ModelInfer, ModelServer and ModelRoute of the namespace. Another's object is never touched."""
    wanted = {child.key: child for child in children(model, agent_image)}
    present = {resource.key: resource for resource in nearby}
    taken = {key for key in wanted if key in present and not present[key].is_owned_by(model)}
    free = {key: child for key, child in wanted.items() if key not in taken}
    status = _status(model, present, taken, now)
    return Plan(
        applies=tuple(child for key, child in free.items() if _is_due(child, present.get(key))),
        deletes=tuple(
            old
            for key, old in present.items()
            if key not in wanted and old.is_owned_by(model) and not old.is_terminating
        ),
        status=None if status == model.status else model.model_copy(update={"status": status}),
    )


def children(model: Model, agent_image: str) -> list[Resource]:
    """What a Model stands for, servers before the route that leads to them."""
    backends = model.spec.backends
    return [
        *(_infer(model, backend, agent_image) for backend in backends),
        *(_server(model, backend) for backend in backends),
        _route(model),
    ]


def _is_due(child: Resource, present: Resource | None) -> bool:
    return present is None or (not present.is_terminating and differs(child, present))


def _metadata(model: Model, name: str, backend: Backend | None = None) -> Metadata:
    own = {labels.MODEL: model.metadata.name} | ({labels.BACKEND: backend.name} if backend else {})
    return Metadata(name=name, namespace=model.metadata.namespace, labels=own, owner_references=(owned_by(model),))


def _infer(model: Model, backend: Backend, agent_image: str) -> ModelInfer:
    pod_labels = {labels.MODEL: model.metadata.name, labels.BACKEND: backend.name, labels.AGENT: "true"}
    container = Container(
        name="agent", image=agent_image, command=("matrixinfer", "agent"), env=_environment(model, backend)
    )
    template = PodTemplate(
        metadata=PodTemplateMetadata(labels=pod_labels),
        spec=PodSpec(containers=(container,), termination_grace_period_seconds=GRACE_S),
    )
    role = Role(name=ROLE, entry_template=template)
    return ModelInfer(
        metadata=_metadata(model, model.child_name(backend), backend),
        spec=ModelInferSpec(
            replicas=backend.min_replicas,
            template=InferGroupTemplate(roles=(role,)),
            rollout_strategy=backend.rollout_strategy,
        ),
    )


def _environment(model: Model, backend: Backend) -> tuple[EnvVar, ...]:
    """The backend's own variables come last: they may set any other setting of the agent."""
    own = {
        "MATRIXINFER_AGENT_ENGINE": backend.type.value,
        "MATRIXINFER_AGENT_MODEL_URI": backend.model_uri,
        "MATRIXINFER_AGENT_SERVED_MODEL": model.served_name,
        "MATRIXINFER_AGENT_ENGINE_CONFIG": json.dumps(backend.config, sort_keys=True),
    }
    return tuple(EnvVar(name=name, value=value) for name, value in own.items()) + backend.env


def _server(model: Model, backend: Backend) -> ModelServer:
    name = model.child_name(backend)
    entries = {labels.MODELINFER: name, labels.ENTRY: "true"}
    return ModelServer(
        metadata=_metadata(model, name, backend),
        spec=ModelServerSpec(
            model=model.served_name,
            inference_engine=backend.type,
            workload_selector=WorkloadSelector(match_labels=entries),
            dispatch=backend.dispatch,
            tokenizer=backend.tokenizer,
        ),
    )


def _route(model: Model) -> ModelRoute:
    weights = {model.child_name(backend): backend.route_weight for backend in model.spec.backends}
    if not any(weights.values()):  # all backends at 0: nobody means "serve nothing"
        weights = dict.fromkeys(weights, 1)
    rule = RouteRule(
        name="default",
        model_match=model.spec.model_match or ModelMatch(),
        target_models=tuple(TargetModel(model_server_name=name, weight=weight) for name, weight in weights.items()),
    )
    return ModelRoute(
        metadata=_metadata(model, model.metadata.name),
        spec=ModelRouteSpec(model_name=model.served_name, rules=(rule,)),
    )


def _status(model: Model, present: Mapping[Key, Resource], taken: set[Key], now: float) -> ModelStatus:
    ready = {backend.name: _ready_replicas(model, backend, present) for backend in model.spec.backends}
    route = present.get(("ModelRoute", model.metadata.namespace, model.metadata.name))
    conditions = (_initialized(taken), _active(model, ready, route))
    generation = model.metadata.generation
    return ModelStatus(
        observed_generation=generation,
        backend_statuses=tuple(BackendStatus(name=name, replicas=count) for name, count in ready.items()),
        conditions=updated(model.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )


def _ready_replicas(model: Model, backend: Backend, present: Mapping[Key, Resource]) -> int:
    infer = present.get(("ModelInfer", model.metadata.namespace, model.child_name(backend)))
    owned = isinstance(infer, ModelInfer) and infer.is_owned_by(model)
    return infer.status.available_replicas if owned and isinstance(infer, ModelInfer) else 0


def _initialized(taken: set[Key]) -> Condition:
    if taken:
        names = listed(f"{kind} {name}" for kind, _, name in taken)
        message = f"somebody else's objects have the names of this model's: {names}; rename the model or delete them"
        return condition("Initialized", False, "NameTaken", message)
    return condition("Initialized", True, "Created", "everything that the model needs exists")


def _active(model: Model, ready: Mapping[str, int], route: Resource | None) -> Condition:
    accepted = find(route.status.conditions, "Accepted") if isinstance(route, ModelRoute) else None
    if accepted is not None and accepted.status == "False":
        return condition("Active", False, accepted.reason, accepted.message)
    parts = [
        f"backend {backend.name}: {ready[backend.name]} of {backend.min_replicas} replicas ready"
        for backend in model.spec.backends
    ]
    if any(ready.values()):
        return condition("Active", True, "Serving", "; ".join(parts))
    reason = "Starting" if any(backend.min_replicas for backend in model.spec.backends) else "ScaledToZero"
    return condition("Active", False, reason, "; ".join(parts))
