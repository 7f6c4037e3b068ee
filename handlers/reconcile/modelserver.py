"""ModelServer → its entries in SERVING (see `pool`), and what it says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from matrixinfer.bus.contracts.dispatch import CacheSuspicion
from matrixinfer.handlers.api.conditions import condition, find, updated
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelserver import ModelServer, ModelServerStatus, RoleCount
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.plan import Plan, counted, listed, serving_changes
from matrixinfer.handlers.reconcile.pool import contracts, is_entry, role_of, takes_requests


def decide(
    server: ModelServer,
    pods: Iterable[Pod],
    others: Iterable[ModelServer],
    serving: Mapping[str, bytes],
    suspicions: Iterable[CacheSuspicion] | None = (),
    *,
    now: float,
) -> Plan:
    """`others`: the other ModelServers of the namespace; a pod belongs to the oldest that selects it.

    `serving`: the entries that this ModelServer has in SERVING now. `suspicions`: what its dispatchers say of caches,
    None when that is not known yet.
    """
    older = [other for other in others if other.age_order < server.age_order and not other.is_terminating]
    selected = [pod for pod in pods if server.selects(pod)]
    lost = [pod for pod in selected if any(other.selects(pod) for other in older)]
    lost_keys = {pod.key for pod in lost}
    own = [pod for pod in selected if pod.key not in lost_keys]
    wanted = contracts(server, own, serving)
    conditions = (
        _endpoints_ready(server, own),
        _conflicted(lost, older),
        *_cache_index_trusted(server, own, suspicions),
    )
    status = _status(server, own, conditions, now)
    return Plan(
        serving=serving_changes(wanted, serving),
        status=None if status == server.status else server.model_copy(update={"status": status}),
    )


def decide_gone(serving: Mapping[str, bytes]) -> Plan:
    """The ModelServer is not there any more."""
    return Plan(serving=serving_changes({}, serving))


def _status(server: ModelServer, own: list[Pod], conditions: Iterable[Condition], now: float) -> ModelServerStatus:
    generation = server.metadata.generation
    return ModelServerStatus(
        observed_generation=generation,
        pods=len(own),
        ready_pods=sum(map(takes_requests, own)),
        roles=_roles(server, own),
        pd_groups=len(_whole_groups(server, own)),
        conditions=updated(server.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )


def _roles(server: ModelServer, own: list[Pod]) -> tuple[RoleCount, ...]:
    groups = server.spec.workload_selector.pd_group
    by_role: dict[str, list[Pod]] = {}
    for pod in filter(is_entry, own):
        by_role.setdefault(role_of(pod, groups), []).append(pod)
    return tuple(
        RoleCount(name=role, pods=len(pods), ready_pods=sum(map(takes_requests, pods)))
        for role, pods in sorted(by_role.items())
    )


def _whole_groups(server: ModelServer, own: list[Pod]) -> set[str]:
    """Those in which prompts can be computed, and answers."""
    groups = server.spec.workload_selector.pd_group
    if groups is None:
        return set()
    ready = [pod for pod in own if takes_requests(pod)]
    by_role: dict[str, set[str]] = {"prefill": set(), "decode": set()}
    for pod in ready:
        by_role.setdefault(role_of(pod, groups), set()).add(pod.metadata.labels.get(groups.group_key, ""))
    return by_role["prefill"] & by_role["decode"]


def _endpoints_ready(server: ModelServer, own: list[Pod]) -> Condition:
    type_, ready = "EndpointsReady", sum(map(takes_requests, own))
    if not own:
        return condition(type_, False, "NoPods", "no pod has the labels of workloadSelector")
    message = f"{ready} of {counted(len(own), 'pod')} take requests"
    if server.spec.workload_selector.pd_group is None or not ready:
        return condition(type_, ready > 0, "PodsReady" if ready else "PodsNotReady", message)
    if groups := _whole_groups(server, own):
        return condition(type_, True, "PodsReady", f"{message}, in {counted(len(groups), 'whole group')}")
    return condition(type_, False, "NoWholeGroup", f"{message}, but no group has a prefill and a decode pod among them")


def _conflicted(lost: list[Pod], older: list[ModelServer]) -> Condition:
    if not lost:
        return condition("Conflicted", False, "NoConflict")
    winners = {other.metadata.name for other in older if any(other.selects(pod) for pod in lost)}
    message = (
        f"{counted(len(lost), 'pod')} belong to the older ModelServer {listed(winners)}: a pod serves in one pool; "
        "make the selectors differ"
    )
    return condition("Conflicted", True, "PodsTaken", message)


def _cache_index_trusted(
    server: ModelServer, own: list[Pod], suspicions: Iterable[CacheSuspicion] | None
) -> tuple[Condition, ...]:
    """As it was while nothing is known; of pods that are not in the pool any more nothing counts."""
    type_ = "CacheIndexTrusted"
    if suspicions is None:
        before = find(server.status.conditions, type_)
        return (before,) if before is not None else ()
    names = {pod.metadata.name for pod in own}
    suspected = [one for one in suspicions if one.pod in names]
    if not suspected:
        return (condition(type_, True, "NoContradiction", "no engine contradicts what dispatch believes to be cached"),)
    told = [
        f"{one.pod} (predicted {one.predicted_tokens:.0f} cached tokens a request, reported {one.reported_tokens:.0f})"
        for one in suspected
    ]
    message = (
        f"hash, block-size or tokenizer mismatch suspected at {counted(len(told), 'pod')}: {listed(told)}; compare the "
        "engine's tokenizer, chat template, block size and hash with the gateway's; until they agree, dispatch goes by "
        "what it sent there"
    )
    return (condition(type_, False, "CachesContradict", message),)
