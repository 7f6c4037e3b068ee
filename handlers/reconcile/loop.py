"""One key in work: gather what its kind needs, let the pure reconciler decide, do what it says."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.dispatch import CacheSuspicion
from matrixinfer.bus.contracts.serving import pool_key, route_key
from matrixinfer.bus.errors import BusError, Conflict, Reject, Retry
from matrixinfer.bus.ports import Store
from matrixinfer.bus.subjects import key as bucket_key
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import PodGroup
from matrixinfer.handlers.api.service import Service
from matrixinfer.handlers.cluster.port import Cluster, R
from matrixinfer.handlers.errors import ClusterError, Conflicted, NotFound
from matrixinfer.handlers.reconcile import (
    autoscalingpolicy,
    autoscalingpolicybinding,
    model,
    modelinfer,
    modelroute,
    modelserver,
)
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.infer.census import Loads
from matrixinfer.handlers.reconcile.infer.companions import Around
from matrixinfer.handlers.reconcile.plan import Plan
from matrixinfer.handlers.reconcile.podplugins.port import Table
from matrixinfer.handlers.reconcile.podplugins.registry import BUILT_IN
from matrixinfer.handlers.reconcile.setbacks import FAILED, Setbacks, with_failure
from matrixinfer.handlers.reconcile.triggers import Key

logger = logging.getLogger("matrixinfer.handlers.reconcile.loop")

_RECONCILED: dict[str, type[Resource]] = {
    "Model": Model,
    "ModelInfer": ModelInfer,
    "ModelServer": ModelServer,
    "ModelRoute": ModelRoute,
    "AutoScalingPolicy": AutoScalingPolicy,
    "AutoScalingPolicyBinding": AutoScalingPolicyBinding,
}

SuspicionsOf = Callable[[str, str], list[CacheSuspicion] | None]
"""Of a ModelServer, by namespace and name; None when they are not known yet."""

LoadsOf = Callable[[str], Loads]
"""Of the Pods of a namespace."""


class Loop:
    """`reconcile` may run for several keys at once; two runs of one key at once do no harm, but waste."""

    def __init__(
        self,
        cluster: Cluster,
        serving: Store,
        clock: Clock,
        suspicions_of: SuspicionsOf,
        loads_of: LoadsOf,
        *,
        platform: Platform,
        plugins: Table = BUILT_IN,
    ) -> None:
        self._cluster = cluster
        self._plugins = plugins
        self._serving = serving
        self._suspicions_of = suspicions_of
        self._loads_of = loads_of
        self._clock = clock
        self._platform = platform
        self._setbacks = Setbacks()
        self._deciders: dict[str, Callable[[str, str], Awaitable[Plan]]] = {
            "Model": self._decide_model,
            "ModelInfer": self._decide_modelinfer,
            "ModelServer": self._decide_modelserver,
            "ModelRoute": self._decide_modelroute,
            "AutoScalingPolicy": self._decide_policy,
            "AutoScalingPolicyBinding": self._decide_binding,
        }

    async def reconcile(self, key: Key) -> None:
        """Bring what the key names closer to what is wanted. Raises Retry (look again later) and Reject (nothing to
        do for such a key), nothing else."""
        decide = self._deciders.get(key.kind)
        if decide is None:
            raise Reject(f"no reconciler for kind {key.kind!r}; expected one of {', '.join(sorted(self._deciders))}")
        plan = Plan()
        try:
            plan = await decide(key.namespace, key.name)
            await self._act(key, plan)
        except (Conflict, Conflicted) as error:
            raise self._setbacks.conflict(key, str(error)) or await self._failed(key, str(error), plan) from error
        except BusError as error:  # whoever cannot be reached will come back
            raise await self._failed(key, str(error), plan, is_tried_for_ever=True) from error
        except ClusterError as error:
            raise await self._failed(key, str(error), plan) from error
        except Exception as error:
            logger.exception("reconciling %s %s/%s met a defect", *key)
            raise await self._failed(key, f"{type(error).__name__}: {error}", plan) from error
        self._setbacks.forget(key)
        if plan.again_after_s is not None:
            raise Retry(plan.again_after_s, "something is due then")

    async def _failed(self, key: Key, reason: str, plan: Plan, *, is_tried_for_ever: bool = False) -> Retry | Reject:
        """Told by a condition and an Event when it goes on, and at last given up: then it is a dead letter."""
        retry = self._setbacks.retry(key, reason)
        given_up = None if is_tried_for_ever else self._setbacks.give_up(key, reason)
        is_told = given_up is not None or self._setbacks.is_to_be_told(key)
        subject = self._cluster.get(_RECONCILED[key.kind], key.namespace, key.name)
        if subject is not None:
            with contextlib.suppress(BusError, ClusterError):  # the next failure tells it
                seen = plan.unfinished or plan.status or subject
                told = with_failure(seen, subject, reason if is_told else "", self._clock.now())
                if told != subject:
                    await self._cluster.update_status(told)
                if is_told:
                    await self._cluster.record(subject, FAILED, reason, is_warning=True)
        return given_up or retry

    # -- gather and decide
    async def _decide_model(self, namespace: str, name: str) -> Plan:
        subject = self._cluster.get(Model, namespace, name)
        if subject is None or subject.is_terminating:
            return Plan()  # the cluster deletes what it owns
        nearby: list[Resource] = [
            *self._cluster.list(ModelInfer, namespace),
            *self._cluster.list(ModelServer, namespace),
            *self._cluster.list(ModelRoute, namespace),
            *self._cluster.list(AutoScalingPolicyBinding, namespace),
        ]
        pods = self._cluster.list(Pod, namespace, {labels.MODEL: name})
        return model.decide(subject, nearby, pods, platform=self._platform, now=self._clock.now())

    async def _decide_modelinfer(self, namespace: str, name: str) -> Plan:
        subject = self._cluster.get(ModelInfer, namespace, name)
        if subject is None or subject.is_terminating:
            return Plan()
        pods = self._own_and_namesakes(Pod, subject, modelinfer.possible_names(subject))
        revisions = self._cluster.list(ControllerRevision, namespace, {labels.MODELINFER: name})
        loads = self._loads_of(namespace)
        around = self._around(subject)
        return modelinfer.decide(subject, pods, revisions, loads, now=self._clock.now(), around=around)

    def _around(self, infer: ModelInfer) -> Around:
        return Around(
            services=tuple(self._own_and_namesakes(Service, infer, modelinfer.possible_services(infer))),
            pod_groups=tuple(self._own_and_namesakes(PodGroup, infer, modelinfer.possible_groups(infer))),
            serves_pod_groups=self._cluster.serves(PodGroup),
            plugins=self._plugins,
        )

    def _own_and_namesakes(self, kind: type[R], infer: ModelInfer, names: Iterable[str]) -> list[R]:
        """What has the label of the ModelInfer, and what has a name that it may want."""
        namespace = infer.metadata.namespace
        found = {one.key: one for one in self._cluster.list(kind, namespace, {labels.MODELINFER: infer.metadata.name})}
        namesakes = (self._cluster.get(kind, namespace, name) for name in names)
        return list((found | {one.key: one for one in namesakes if one is not None}).values())

    async def _decide_modelserver(self, namespace: str, name: str) -> Plan:
        entries = await self._entry(pool_key(namespace, name)) | await self._below(bucket_key("pod", namespace, name))
        adapters = await self._below(bucket_key("adapters", namespace))
        entries |= {entry: value for entry, value in adapters.items() if parse_key(entry)[-1] == name}
        subject = self._cluster.get(ModelServer, namespace, name)
        if subject is None or subject.is_terminating:
            return modelserver.decide_gone(entries)
        pods = self._cluster.list(Pod, namespace, subject.spec.workload_selector.match_labels)
        others = [other for other in self._cluster.list(ModelServer, namespace) if other.key != subject.key]
        suspicions = self._suspicions_of(namespace, name)
        return modelserver.decide(subject, pods, others, entries, suspicions, now=self._clock.now())

    async def _decide_modelroute(self, namespace: str, name: str) -> Plan:
        entries = await self._entry(route_key(namespace, name))
        subject = self._cluster.get(ModelRoute, namespace, name)
        if subject is None or subject.is_terminating:
            return modelroute.decide_gone(entries)
        others = [other for other in self._cluster.list(ModelRoute) if other.key != subject.key]
        servers = {server.metadata.name: server for server in self._cluster.list(ModelServer, namespace)}
        return modelroute.decide(subject, others, servers, entries, now=self._clock.now())

    async def _decide_policy(self, namespace: str, name: str) -> Plan:
        subject = self._cluster.get(AutoScalingPolicy, namespace, name)
        if subject is None or subject.is_terminating:
            return Plan()
        bindings = self._cluster.list(AutoScalingPolicyBinding, namespace)
        return autoscalingpolicy.decide(subject, bindings, now=self._clock.now())

    async def _decide_binding(self, namespace: str, name: str) -> Plan:
        subject = self._cluster.get(AutoScalingPolicyBinding, namespace, name)
        if subject is None or subject.is_terminating:
            return Plan()
        others = [one for one in self._cluster.list(AutoScalingPolicyBinding, namespace) if one.key != subject.key]
        policies = {policy.metadata.name: policy for policy in self._cluster.list(AutoScalingPolicy, namespace)}
        infers = {infer.metadata.name: infer for infer in self._cluster.list(ModelInfer, namespace)}
        policy = policies.get(subject.spec.policy_ref.name)
        return autoscalingpolicybinding.decide(subject, others, policy, infers, now=self._clock.now())

    # Read from the bucket, not from a cache: the last run for this key may have been in another process.
    async def _entry(self, name: str) -> dict[str, bytes]:
        entry = await self._serving.get(name)
        return {} if entry is None else {name: entry.value}

    async def _below(self, prefix: str) -> dict[str, bytes]:
        return {name: entry.value for name, entry in (await self._serving.entries(prefix)).items()}

    # -- act
    async def _act(self, key: Key, plan: Plan) -> None:
        for resource in plan.applies:
            await self._cluster.apply(resource)
            logger.info("%s %s/%s: applied %s %s", *key, resource.kind, resource.metadata.name)
        for name, value in plan.serving.items():
            if value is None:
                await self._serving.delete(name)
            else:
                await self._serving.put(name, encode(value))
        for resource in plan.deletes:
            kind, namespace, name = resource.key
            await self._cluster.delete(type(resource), namespace, name, uid=resource.metadata.uid)
            logger.info("%s %s/%s: deleted %s %s", *key, kind, name)
        if plan.status is not None:
            await self._write_status(plan.status)
        await self._tell(key, plan)

    async def _tell(self, key: Key, plan: Plan) -> None:
        subject = self._cluster.get(_RECONCILED[key.kind], key.namespace, key.name)
        for notice in plan.notices if subject is not None else ():
            assert subject is not None
            await self._cluster.record(subject, notice.reason, notice.message, is_warning=notice.is_warning)

    async def _write_status(self, status: Resource) -> None:
        try:
            await self._cluster.update_status(status)
        except NotFound:
            logger.debug("%s %s/%s went before its status was written", *status.key)
