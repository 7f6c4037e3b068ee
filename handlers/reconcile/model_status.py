"""What a Model says of itself: is everything made, are the weights there, does it answer, what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.backend import Backend
from matrixinfer.handlers.api.conditions import condition, find, updated
from matrixinfer.handlers.api.engines import NEEDS_WEIGHTS
from matrixinfer.handlers.api.meta import Condition, Resource
from matrixinfer.handlers.api.model import BackendStatus, Model, ModelStatus
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.backends.bounds import wanted_replicas
from matrixinfer.handlers.reconcile.backends.scaling import bindings_of
from matrixinfer.handlers.reconcile.backends.weights import DOWNLOADER
from matrixinfer.handlers.reconcile.plan import counted, listed
from matrixinfer.handlers.reconcile.setbacks import FAILED
from matrixinfer.handlers.reconcile.troubles import Trouble, trouble_of

Key = tuple[str, str, str]
"""Kind, namespace and name."""


def status_of(
    model: Model,
    present: Mapping[Key, Resource],
    taken: set[Key],
    pods: Iterable[Pod],
    now: float,
    *,
    missing: Collection[Key] = (),
) -> ModelStatus:
    """`present`: the objects of the namespace; `taken`: those of other people that have the names of ours; `missing`:
    ours that could not be made."""
    own = _by_backend(model, pods)
    infers = {backend.name: _infer(model, backend, present) for backend in model.spec.backends}
    troubles = {name: _trouble(infers[name], own[name]) for name in own}
    backends = tuple(_backend(one, infers[one.name], troubles[one.name]) for one in model.spec.backends)
    route = present.get(("ModelRoute", model.metadata.namespace, model.metadata.name))
    conditions = (
        _initialized(missing, taken),
        _weights_ready(model, infers, own),
        _available(model, backends, infers, route),
        _failed(taken, troubles),
        *_scaled(model, present),
    )
    generation = model.metadata.generation
    return ModelStatus(
        observed_generation=generation,
        backend_statuses=backends,
        conditions=updated(model.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )


def _by_backend(model: Model, pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    own: dict[str, list[Pod]] = {backend.name: [] for backend in model.spec.backends}
    for pod in sorted(pods, key=lambda pod: pod.age_order):
        backend = pod.metadata.labels.get(labels.BACKEND, "")
        if backend in own and not pod.is_terminating:
            own[backend].append(pod)
    return own


def _infer(model: Model, backend: Backend, present: Mapping[Key, Resource]) -> ModelInfer | None:
    infer = present.get(("ModelInfer", model.metadata.namespace, model.child_name(backend)))
    return infer if isinstance(infer, ModelInfer) and infer.is_owned_by(model) else None


def _backend(backend: Backend, infer: ModelInfer | None, trouble: Trouble | None) -> BackendStatus:
    ready = infer.status.available_replicas if infer is not None else 0
    reason, message = trouble or ("", "")
    if not reason and ready < wanted_replicas(backend, infer):
        reason = "Starting"
    return BackendStatus(name=backend.name, replicas=ready, reason=reason, message=message)


def _trouble(infer: ModelInfer | None, pods: list[Pod]) -> Trouble | None:
    """The ModelInfer knows what was given up, and what the cluster refuses; the Pods know why they do not run."""
    told = next((trouble for trouble in map(trouble_of, pods) if trouble is not None), None)
    given_up = find(infer.status.conditions, "Degraded") if infer is not None else None
    refused = find(infer.status.conditions, FAILED) if infer is not None else None
    for known in (given_up, refused):
        if known is not None and known.status == "True":
            message = f"{known.message}; {told.message}" if told is not None else known.message
            return Trouble(known.reason, message)
    return told


def _initialized(missing: Collection[Key], taken: set[Key]) -> Condition:
    if taken:
        return condition("Initialized", False, "NameTaken", _taken(taken))
    if missing:
        return condition("Initialized", False, "Creating", f"not there yet: {_named(missing)}")
    return condition("Initialized", True, "Created", "everything that the model needs exists")


def _taken(taken: set[Key]) -> str:
    return f"somebody else's objects have the names of this model's: {_named(taken)}; rename the model or delete them"


def _named(keys: Collection[Key]) -> str:
    return listed(f"{kind} {name}" for kind, _, name in keys)


def _weights_ready(model: Model, infers: Mapping[str, ModelInfer | None], own: Mapping[str, list[Pod]]) -> Condition:
    """Of a backend without replicas nothing is asked."""
    waiting = [
        f"backend {backend.name}: {_loading(own[backend.name])}"
        for backend in model.spec.backends
        if backend.type in NEEDS_WEIGHTS
        and wanted_replicas(backend, infers[backend.name])
        and not any(map(_has_weights, own[backend.name]))
    ]
    if waiting:
        return condition("WeightsReady", False, "Loading", "; ".join(waiting))
    return condition("WeightsReady", True, "Loaded", "")


def _has_weights(pod: Pod) -> bool:
    """Its init container has fetched them; where the agent does it, it has when it is ready."""
    if pod.is_ready:
        return True
    fetched = [status for status in pod.status.init_container_statuses if status.name == DOWNLOADER]
    return any(one.state.terminated is not None and one.state.terminated.exit_code == 0 for one in fetched)


def _loading(pods: list[Pod]) -> str:
    if not pods:
        return "no pod yet"
    return f"being fetched or loaded by {counted(len(pods), 'pod')}"


def _available(
    model: Model,
    backends: Iterable[BackendStatus],
    infers: Mapping[str, ModelInfer | None],
    route: Resource | None,
) -> Condition:
    accepted = find(route.status.conditions, "Accepted") if isinstance(route, ModelRoute) else None
    if accepted is not None and accepted.status == "False":
        return condition("Available", False, accepted.reason, accepted.message)
    ready = {status.name: status.replicas for status in backends}
    wanted = {backend.name: wanted_replicas(backend, infers[backend.name]) for backend in model.spec.backends}
    text = "; ".join(f"backend {name}: {ready[name]} of {wanted[name]} replicas ready" for name in wanted)
    if any(ready.values()):
        return condition("Available", True, "Serving", text)
    return condition("Available", False, "Starting" if any(wanted.values()) else "ScaledToZero", text)


def _scaled(model: Model, present: Mapping[Key, Resource]) -> Iterator[Condition]:
    """Only of a model that has policies: the first thing that keeps one of them from its work."""
    names = [name for name, _, _ in bindings_of(model)]
    if not names:
        return
    for name in names:
        binding = present.get(("AutoScalingPolicyBinding", model.metadata.namespace, name))
        known = binding.status.conditions if isinstance(binding, AutoScalingPolicyBinding) else ()
        for type_ in ("PolicyFound", "TargetFound", "Accepted"):
            told = find(known, type_)
            if told is None or told.status != "True":
                reason, message = (told.reason, told.message) if told is not None else ("Pending", "not looked at yet")
                yield condition("Autoscaled", False, reason, f"binding {name}: {message}")
                return
    yield condition("Autoscaled", True, "PoliciesApply", "")


def _failed(taken: set[Key], troubles: Mapping[str, Trouble | None]) -> Condition:
    if taken:
        return condition("Failed", True, "NameTaken", _taken(taken))
    met = [(name, trouble) for name, trouble in troubles.items() if trouble is not None]
    if not met:
        return condition("Failed", False, "NoFailure")
    text = "; ".join(f"backend {name}: {trouble.message}" for name, trouble in met)
    return condition("Failed", True, met[0][1].reason, text)
