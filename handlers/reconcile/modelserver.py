"""ModelServer → the pool in SERVING: one entry for the pool, one for each of its pods that takes requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec import structs

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.disaggregation import Connector, Disaggregation
from matrixinfer.bus.contracts.dispatch import CacheSuspicion
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.bus.contracts.serving import Pool, PoolPod, Tokenizer, pod_key, pool_key
from matrixinfer.bus.errors import Malformed
from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api import tokenizer as api
from matrixinfer.handlers.api.conditions import condition, find, updated
from matrixinfer.handlers.api.dispatch import SchedulingProfile
from matrixinfer.handlers.api.durations import seconds
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelserver import ModelServer, ModelServerStatus, PdGroup
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.infer.census import is_leaving, waits_for_gang
from matrixinfer.handlers.reconcile.plan import Contract, Plan, counted, listed, serving_changes
from matrixinfer.handlers.reconcile.shards import spread

C = TypeVar("C", Pool, PoolPod)


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
    members = [_member(server, pod) for pod in own if _takes_requests(pod) or _leaves(server, pod, serving)]
    wanted: dict[str, Contract] = {pool_key(*_names(server)): _pool(server, serving)}
    wanted |= {pod_key(*_names(server), pod.pod): pod for pod in _sharded(server, members, serving)}
    conditions = (
        _ready(_count_ready(own), len(own)),
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


def _names(server: ModelServer) -> tuple[str, str]:
    return server.metadata.namespace, server.metadata.name


def _takes_requests(pod: Pod) -> bool:
    return pod.is_ready and not pod.is_terminating and not waits_for_gang(pod)


def _leaves(server: ModelServer, pod: Pod, serving: Mapping[str, bytes]) -> bool:
    """It was a member, and may still run something until it is gone."""
    return pod.is_terminating and pod_key(*_names(server), pod.metadata.name) in serving


def _pool(server: ModelServer, serving: Mapping[str, bytes]) -> Pool:
    """Never serves fewer shards than before: a gateway that has not heard of it yet goes on using the old ones."""
    namespace, name = _names(server)
    shards, former = server.spec.dispatch.shards, _read(serving, pool_key(namespace, name), Pool)
    served = max(shards, former.shards, former.served_shards) if former else shards
    return Pool(
        namespace,
        name,
        server.spec.inference_engine.value,
        shards,
        served_shards=0 if served == shards else served,
        profile=profile_of(server.spec.dispatch.profile),
        weights=server.spec.dispatch.tenant_weights,
        max_tpot_s=seconds(server.spec.dispatch.max_tpot) if server.spec.dispatch.max_tpot else 0.0,
        disaggregation=_disaggregation(server),
        tokenizer=tokenizer_of(server.spec.tokenizer),
    )


def _disaggregation(server: ModelServer) -> Disaggregation | None:
    spec, wanted = server.spec, server.spec.dispatch.disaggregation
    if spec.workload_selector.pd_group is None:
        return None
    by_engine: Connector = "sglang" if spec.inference_engine.value == "SGLang" else "http"
    return Disaggregation(
        connector=spec.kv_connector.type if spec.kv_connector else by_engine,
        mode=wanted.mode,
        threshold_tokens=wanted.threshold_tokens,
        prefill_timeout_s=seconds(wanted.prefill_timeout),
        transfer_timeout_s=seconds(wanted.transfer_timeout),
    )


def tokenizer_of(named: api.Tokenizer | None) -> Tokenizer | None:
    return Tokenizer(named.path, named.chat_template, named.chat_template_path or "") if named else None


def profile_of(chosen: SchedulingProfile | None) -> Profile:
    if chosen is None:
        return Profile()
    return Profile(
        chosen.name,
        [Plugin(one.name, one.parameters) for one in chosen.filters],
        [WeightedPlugin(one.name, one.weight, one.parameters) for one in chosen.scorers],
        Plugin(chosen.picker.name, chosen.picker.parameters) if chosen.picker else None,
    )


def _sharded(server: ModelServer, members: list[PoolPod], serving: Mapping[str, bytes]) -> list[PoolPod]:
    """Pods that leave keep the shard that knows them."""
    former = {pod.pod: _read(serving, pod_key(*_names(server), pod.pod), PoolPod) for pod in members}
    before = {name: pod.shard for name, pod in former.items() if pod is not None}
    homes = spread([pod for pod in members if not pod.draining], before, server.spec.dispatch.shards)
    return [structs.replace(pod, shard=homes.get(pod.pod, before.get(pod.pod, 0))) for pod in members]


def _read(serving: Mapping[str, bytes], key: str, kind: type[C]) -> C | None:
    """What was said before; what cannot be read was never said."""
    try:
        return decode(serving[key], kind) if key in serving else None
    except Malformed:
        return None


def _member(server: ModelServer, pod: Pod) -> PoolPod:
    namespace, name = _names(server)
    groups = server.spec.workload_selector.pd_group
    return PoolPod(
        namespace=namespace,
        modelserver=name,
        pod=pod.metadata.name,
        role=_role(pod, groups),
        pd_group=pod.metadata.labels.get(groups.group_key, "") if groups else "",
        draining=is_leaving(pod),
    )


def _role(pod: Pod, groups: PdGroup | None) -> str:
    """By the labels of the PD groups; of another pod, the role that its ModelInfer gave it."""
    own = pod.metadata.labels
    if groups is not None and groups.prefill_labels.items() <= own.items():
        return "prefill"
    if groups is not None and groups.decode_labels.items() <= own.items():
        return "decode"
    return own.get(labels.ROLE, "server")


def _status(server: ModelServer, own: list[Pod], conditions: Iterable[Condition], now: float) -> ModelServerStatus:
    generation = server.metadata.generation
    return ModelServerStatus(
        observed_generation=generation,
        pods=len(own),
        ready_pods=_count_ready(own),
        conditions=updated(server.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )


def _count_ready(own: list[Pod]) -> int:
    return sum(1 for pod in own if _takes_requests(pod))


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
