"""The pool of a ModelServer as the gateways, dispatch and agents read it in SERVING. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec import structs

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.disaggregation import Connector, Disaggregation
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.bus.contracts.serving import (
    PodAdapters,
    Pool,
    PoolPod,
    Tokenizer,
    adapters_key,
    pod_key,
    pool_key,
)
from matrixinfer.bus.errors import Malformed
from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api import tokenizer as api
from matrixinfer.handlers.api.dispatch import SchedulingProfile
from matrixinfer.handlers.api.durations import seconds
from matrixinfer.handlers.api.engines import BackendType
from matrixinfer.handlers.api.modelserver import ModelServer, PdGroup
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.infer.census import is_leaving, waits_for_gang
from matrixinfer.handlers.reconcile.plan import Contract
from matrixinfer.handlers.reconcile.shards import spread

C = TypeVar("C", Pool, PoolPod)


def contracts(server: ModelServer, own: Iterable[Pod], serving: Mapping[str, bytes]) -> dict[str, Contract]:
    """All entries that the ModelServer shall have, by their keys. `own`: the pods that are its; `serving`: the entries
    that it has."""
    own = list(own)
    members = [member(server, pod) for pod in own if takes_requests(pod) or _leaves(server, pod, serving)]
    has_pods = any(not one.draining for one in members)
    wanted: dict[str, Contract] = {pool_key(*_names(server)): _pool(server, serving, has_pods)}
    wanted |= {pod_key(*_names(server), pod.pod): pod for pod in _sharded(server, members, serving)}
    return wanted | _adapters(server, own)


def takes_requests(pod: Pod) -> bool:
    return pod.is_ready and not pod.is_terminating and is_entry(pod) and not waits_for_gang(pod)


def is_entry(pod: Pod) -> bool:
    """The workers of an engine on several machines answer nobody."""
    return pod.metadata.labels.get(labels.ENTRY) != "false"


def _names(server: ModelServer) -> tuple[str, str]:
    return server.metadata.namespace, server.metadata.name


def _leaves(server: ModelServer, pod: Pod, serving: Mapping[str, bytes]) -> bool:
    """It was a member, and may still run something until it is gone."""
    return pod.is_terminating and pod_key(*_names(server), pod.metadata.name) in serving


def _pool(server: ModelServer, serving: Mapping[str, bytes], has_pods: bool) -> Pool:
    """Never serves fewer shards than before: a gateway that has not heard of it yet goes on using the old ones."""
    namespace, name = _names(server)
    policy = server.spec.traffic_policy
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
        has_pods=has_pods,
        tenants=sorted(server.spec.access.tenants),
        timeout_s=seconds(policy.timeout) if policy.timeout else 0.0,
        attempts=1 + policy.retry.attempts,
    )


def _disaggregation(server: ModelServer) -> Disaggregation | None:
    spec, wanted = server.spec, server.spec.dispatch.disaggregation
    if spec.workload_selector.pd_group is None:
        return None
    by_engine: Connector = "sglang" if spec.inference_engine is BackendType.SGLANG else "http"
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


def member(server: ModelServer, pod: Pod) -> PoolPod:
    namespace, name = _names(server)
    groups = server.spec.workload_selector.pd_group
    return PoolPod(
        namespace=namespace,
        modelserver=name,
        pod=pod.metadata.name,
        role=role_of(pod, groups),
        pd_group=pod.metadata.labels.get(groups.group_key, "") if groups else "",
        draining=is_leaving(pod),
    )


def role_of(pod: Pod, groups: PdGroup | None) -> str:
    """By the labels of the PD groups; of another pod, the role that its ModelInfer gave it."""
    own = pod.metadata.labels
    if groups is not None and groups.prefill_labels.items() <= own.items():
        return "prefill"
    if groups is not None and groups.decode_labels.items() <= own.items():
        return "decode"
    return own.get(labels.ROLE, "server")


def _adapters(server: ModelServer, own: Iterable[Pod]) -> dict[str, Contract]:
    """One for each pod in which an agent works, ready or not: it can load them before it takes requests."""
    wanted = {adapter.name: adapter.artifact_url for adapter in server.spec.lora_adapters}
    if not wanted:
        return {}
    namespace, name = _names(server)
    pods = [
        pod.metadata.name
        for pod in own
        if is_entry(pod) and not pod.is_terminating and pod.metadata.labels.get(labels.AGENT) == "true"
    ]
    return {adapters_key(namespace, name, pod): PodAdapters(namespace, name, pod, wanted) for pod in pods}
