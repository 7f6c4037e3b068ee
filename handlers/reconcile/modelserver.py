"""ModelServer → the pool in SERVING: one entry for the pool, one for each of its pods that takes requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from matrixinfer.bus.contracts.serving import Pool, PoolPod, pod_key, pool_key
from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.conditions import condition, updated
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelserver import ModelServer, ModelServerStatus
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.plan import Contract, Plan, counted, listed, serving_changes


def decide(
    server: ModelServer,
    pods: Iterable[Pod],
    others: Iterable[ModelServer],
    serving: Mapping[str, bytes],
    *,
    now: float,
) -> Plan:
    """`others`: the other ModelServers of the namespace; a pod belongs to the oldest that selects it.

    `serving`: the entries that this ModelServer has in SERVING now.
    """
    older = [other for other in others if other.age_order < server.age_order and not other.is_terminating]
    selected = [pod for pod in pods if server.selects(pod)]
    lost = [pod for pod in selected if any(other.selects(pod) for other in older)]
    lost_keys = {pod.key for pod in lost}
    own = [pod for pod in selected if pod.key not in lost_keys]
    members = [pod for pod in own if _takes_requests(pod) or _leaves(server, pod, serving)]
    wanted: dict[str, Contract] = {pool_key(*_names(server)): _pool(server)}
    wanted |= {pod_key(*_names(server), pod.metadata.name): _member(server, pod) for pod in members}
    status = _status(server, own, lost, older, now)
    return Plan(
        serving=serving_changes(wanted, serving),
        status=None if status == server.status else server.model_copy(update={"status": status}),
    )


def decide_gone(serving: Mapping[str, bytes]) -> Plan:
    """The ModelServer is not there any more."""
    return Plan(serving=serving_changes({}, serving))


def _names(server: ModelServer) -> tuple[str, str]:
    return server.metadata.namespace, server.metadata.name


def _takes_requests(pod: Pod) -> bool:
    return pod.is_ready and not pod.is_terminating


def _leaves(server: ModelServer, pod: Pod, serving: Mapping[str, bytes]) -> bool:
    """It was a member, and may still run something until it is gone."""
    return pod.is_terminating and pod_key(*_names(server), pod.metadata.name) in serving


def _pool(server: ModelServer) -> Pool:
    namespace, name = _names(server)
    return Pool(namespace=namespace, modelserver=name, engine=server.spec.inference_engine.value)


def _member(server: ModelServer, pod: Pod) -> PoolPod:
    namespace, name = _names(server)
    groups = server.spec.workload_selector.pd_group
    return PoolPod(
        namespace=namespace,
        modelserver=name,
        pod=pod.metadata.name,
        role=pod.metadata.labels.get(labels.ROLE, "server"),
        pd_group=pod.metadata.labels.get(groups.group_key, "") if groups else "",
        draining=pod.is_terminating,
    )


def _status(
    server: ModelServer, own: list[Pod], lost: list[Pod], older: list[ModelServer], now: float
) -> ModelServerStatus:
    ready = sum(1 for pod in own if _takes_requests(pod))
    conditions = (_ready(ready, len(own)), _conflicted(lost, older))
    generation = server.metadata.generation
    return ModelServerStatus(
        observed_generation=generation,
        pods=len(own),
        ready_pods=ready,
        conditions=updated(server.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )


def _ready(ready: int, total: int) -> Condition:
    if not total:
        return condition("Ready", False, "NoPods", "no pod has the labels of workloadSelector")
    message = f"{ready} of {counted(total, 'pod')} take requests"
    return condition("Ready", ready > 0, "PodsReady" if ready else "PodsNotReady", message)


def _conflicted(lost: list[Pod], older: list[ModelServer]) -> Condition:
    if not lost:
        return condition("Conflicted", False, "NoConflict")
    winners = {other.metadata.name for other in older if any(other.selects(pod) for pod in lost)}
    message = (
        f"{counted(len(lost), 'pod')} belong to the older ModelServer {listed(winners)}: a pod serves in one pool; "
        "make the selectors differ"
    )
    return condition("Conflicted", True, "PodsTaken", message)
