"""Model → for each backend a ModelInfer and a ModelServer, and one ModelRoute over all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.backend import Backend, WorkerType
from matrixinfer.handlers.api.meta import Metadata, Resource, owned_by
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import InferGroupTemplate, ModelInfer, ModelInferSpec
from matrixinfer.handlers.api.modelroute import ModelMatch, ModelRoute, ModelRouteSpec, RouteRule, TargetModel
from matrixinfer.handlers.api.modelserver import KvConnector, ModelServer, ModelServerSpec, PdGroup, WorkloadSelector
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.backends.bounds import wanted_replicas
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.backends.roles import roles_of
from matrixinfer.handlers.reconcile.backends.scaling import bindings_of
from matrixinfer.handlers.reconcile.model_status import Key, status_of
from matrixinfer.handlers.reconcile.plan import Plan, differs

_PD_GROUP = PdGroup(
    group_key=labels.GROUP_INDEX,
    prefill_labels={labels.ROLE: WorkerType.PREFILL.value},
    decode_labels={labels.ROLE: WorkerType.DECODE.value},
)


def decide(model: Model, nearby: Iterable[Resource], pods: Iterable[Pod], *, platform: Platform, now: float) -> Plan:
    """`nearby`: every object of the namespace of the kinds of its children; `pods`: those with the model's label.
    Another's object is never touched."""
    present = {resource.key: resource for resource in nearby}
    wanted = {child.key: child for child in children(model, platform, present)}
    taken = {key for key in wanted if key in present and not present[key].is_owned_by(model)}
    free = {key: child for key, child in wanted.items() if key not in taken}
    pods, missing = list(pods), wanted.keys() - present.keys()
    status = status_of(model, present, taken, pods, now)
    unfinished = status_of(model, present, taken, pods, now, missing=missing) if missing else status
    return Plan(
        applies=tuple(child for key, child in free.items() if _is_due(child, present.get(key))),
        deletes=tuple(
            old
            for key, old in present.items()
            if key not in wanted and old.is_owned_by(model) and not old.is_terminating
        ),
        status=None if status == model.status else model.model_copy(update={"status": status}),
        unfinished=model.model_copy(update={"status": unfinished}) if missing else None,
    )


def children(model: Model, platform: Platform, present: Mapping[Key, Resource]) -> list[Resource]:
    """What a Model stands for, servers before the route that leads to them."""
    backends = model.spec.backends
    return [
        *(_infer(model, backend, platform, present.get(_infer_key(model, backend))) for backend in backends),
        *(_server(model, backend) for backend in backends),
        _route(model),
        *_bindings(model),
    ]


def _is_due(child: Resource, present: Resource | None) -> bool:
    return present is None or (not present.is_terminating and differs(child, present))


def _metadata(model: Model, name: str, backend: Backend | None = None) -> Metadata:
    own = {labels.MODEL: model.metadata.name} | ({labels.BACKEND: backend.name} if backend else {})
    return Metadata(name=name, namespace=model.metadata.namespace, labels=own, owner_references=(owned_by(model),))


def _infer(model: Model, backend: Backend, platform: Platform, present: Resource | None) -> ModelInfer:
    return ModelInfer(
        metadata=_metadata(model, model.child_name(backend), backend),
        spec=ModelInferSpec(
            replicas=wanted_replicas(backend, present if isinstance(present, ModelInfer) else None),
            template=InferGroupTemplate(roles=roles_of(model, backend, platform)),
            rollout_strategy=backend.rollout_strategy,
        ),
    )


def _server(model: Model, backend: Backend) -> ModelServer:
    name = model.child_name(backend)
    entries = {labels.MODELINFER: name, labels.ENTRY: "true"}
    return ModelServer(
        metadata=_metadata(model, name, backend),
        spec=ModelServerSpec(
            model=model.served_name,
            inference_engine=backend.type,
            workload_selector=WorkloadSelector(match_labels=entries, pd_group=_PD_GROUP if backend.is_split else None),
            kv_connector=KvConnector(type=backend.connector) if backend.is_split else None,
            lora_adapters=backend.lora_adapters,
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
        spec=ModelRouteSpec(model_name=model.served_name, lora_adapters=_adapter_names(model), rules=(rule,)),
    )


def _bindings(model: Model) -> Iterator[AutoScalingPolicyBinding]:
    for name, backend, spec in bindings_of(model):
        yield AutoScalingPolicyBinding(metadata=_metadata(model, name, backend), spec=spec)


def _adapter_names(model: Model) -> tuple[str, ...]:
    return tuple(sorted({adapter.name for backend in model.spec.backends for adapter in backend.lora_adapters}))


def _infer_key(model: Model, backend: Backend) -> Key:
    return "ModelInfer", model.metadata.namespace, model.child_name(backend)
