"""A world without time or network: objects and SERVING as values, changed by plans exactly as a cluster would."""

from __future__ import annotations

import itertools
import json
from typing import Any, TypeVar

from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.dispatch import CacheSuspicion
from matrixinfer.bus.contracts.serving import Pool, PoolPod, Route, pod_key, pool_key, route_key
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import PodGroup
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.api.service import Service
from matrixinfer.handlers.cluster.local import merge
from matrixinfer.handlers.cluster.local.garbage import orphans
from matrixinfer.handlers.reconcile import (
    autoscalingpolicy,
    autoscalingpolicybinding,
    model,
    modelinfer,
    modelroute,
    modelserver,
)
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.infer.companions import Around
from matrixinfer.handlers.reconcile.plan import Plan
from matrixinfer.handlers.reconcile.podplugins.port import Table
from matrixinfer.handlers.reconcile.podplugins.registry import BUILT_IN

R = TypeVar("R", bound=Resource)
Key = tuple[str, str, str]
RECONCILED = (Model, ModelInfer, ModelServer, ModelRoute, AutoScalingPolicy, AutoScalingPolicyBinding)
NOW = 1_800_000_000.0
PLATFORM = Platform("agent", "sglang", "vllm")


class World:
    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.serving: dict[str, bytes] = {}
        self.loads: dict[str, int] = {}
        """Requests that Pods have, by their names."""
        self.requests = 0
        """What an API server would have been asked to write; nothing is ever asked to be read."""
        self.suspicions: list[CacheSuspicion] | None = []
        """Of every ModelServer."""
        self.serves_pod_groups = False
        """Is Volcano there?"""
        self.plugins: Table = BUILT_IN
        self._objects: dict[Key, dict[str, Any]] = {}
        self._uids = itertools.count(1)

    # -- what people do
    def write(self, text: str) -> None:
        for resource in parse_manifests(text):
            self.put(resource)

    def put(self, resource: Resource) -> None:
        desired = resource.to_json()
        current = self._objects.get(resource.key)
        if current is None:
            self._objects[resource.key] = merge.created(desired, uid=f"uid-{next(self._uids)}", now=self.now)
        else:
            self._objects[resource.key] = merge.applied(current, desired)

    def remove(self, kind: type[Resource], name: str, namespace: str = "default") -> None:
        self._delete((kind.__name__, namespace, name))

    def mark_deleted(self, kind: type[Resource], name: str, namespace: str = "default") -> None:
        """It stays: somebody's finalizer keeps it."""
        key = (kind.__name__, namespace, name)
        self._objects[key] = merge.marked_deleted(self._objects[key], now=self.now)

    # -- what the world looks like
    def all(self, kind: type[R]) -> list[R]:
        return [self._read(kind, body) for key, body in sorted(self._objects.items()) if key[0] == kind.__name__]

    def one(self, kind: type[R], name: str, namespace: str = "default") -> R:
        return self._read(kind, self._objects[kind.__name__, namespace, name])

    def _near(self, resource: Resource, kind: type[R]) -> list[R]:
        return [one for one in self.all(kind) if one.metadata.namespace == resource.metadata.namespace]

    def names(self, kind: type[Resource]) -> list[str]:
        return [resource.metadata.name for resource in self.all(kind)]

    def route(self, name: str, namespace: str = "default") -> Route | None:
        data = self.serving.get(route_key(namespace, name))
        return None if data is None else decode(data, Route)

    def pool(self, name: str, namespace: str = "default") -> Pool | None:
        data = self.serving.get(pool_key(namespace, name))
        return None if data is None else decode(data, Pool)

    def pool_pods(self) -> dict[str, PoolPod]:
        members = [decode(data, PoolPod) for key, data in self.serving.items() if key.startswith("pod.")]
        return {member.pod: member for member in members}

    # -- what nodes do
    def node_runs_pods(self, *, ready: bool = True) -> None:
        for pod in self.all(Pod):
            if not pod.is_terminating:
                self.report(pod.metadata.name, phase="Running", ready=ready)

    def report(self, name: str, *, phase: str, ready: bool = False, message: str = "") -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        self.set_status(name, {"phase": phase, "conditions": conditions, "message": message})

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        body = self._objects["Pod", "default", name]
        spec = body["spec"] | {"nodeName": "local"}
        self._objects["Pod", "default", name] = body | {"spec": spec, "status": status}

    def node_ends_pods(self) -> None:
        for pod in self.all(Pod):
            if pod.is_terminating:
                del self._objects[pod.key]

    # -- what the control plane does
    def decide(self, resource: Resource) -> Plan:
        namespace, name = resource.metadata.namespace, resource.metadata.name
        if isinstance(resource, Model):
            nearby = [
                one
                for kind in (ModelInfer, ModelServer, ModelRoute, AutoScalingPolicyBinding)
                for one in self.all(kind)
            ]
            pods = [pod for pod in self.all(Pod) if pod.metadata.labels.get(labels.MODEL) == name]
            return model.decide(resource, nearby, pods, platform=PLATFORM, now=self.now)
        if isinstance(resource, ModelInfer):
            pods = [pod for pod in self.all(Pod) if _may_concern(resource, pod)]
            revisions = [one for one in self.all(ControllerRevision) if one.is_owned_by(resource)]
            around = Around(
                services=tuple(self.all(Service)),
                pod_groups=tuple(self.all(PodGroup)),
                serves_pod_groups=self.serves_pod_groups,
                plugins=self.plugins,
            )
            return modelinfer.decide(resource, pods, revisions, self.loads, now=self.now, around=around)
        if isinstance(resource, ModelServer):
            others = [other for other in self.all(ModelServer) if other.key != resource.key]
            own = {pool_key(namespace, name), pod_key(namespace, name, "x").rsplit(".", 1)[0]}
            entries = {
                k: v
                for k, v in self.serving.items()
                if k in own or k.rsplit(".", 1)[0] in own or (k.startswith("adapters.") and parse_key(k)[-1] == name)
            }
            return modelserver.decide(resource, self.all(Pod), others, entries, self.suspicions, now=self.now)
        if isinstance(resource, AutoScalingPolicy):
            return autoscalingpolicy.decide(resource, self._near(resource, AutoScalingPolicyBinding), now=self.now)
        if isinstance(resource, AutoScalingPolicyBinding):
            bindings = [one for one in self._near(resource, AutoScalingPolicyBinding) if one.key != resource.key]
            policies = {one.metadata.name: one for one in self._near(resource, AutoScalingPolicy)}
            infers = {one.metadata.name: one for one in self._near(resource, ModelInfer)}
            policy = policies.get(resource.spec.policy_ref.name)
            return autoscalingpolicybinding.decide(resource, bindings, policy, infers, now=self.now)
        assert isinstance(resource, ModelRoute)
        rivals = [other for other in self.all(ModelRoute) if other.key != resource.key]
        servers = {server.metadata.name: server for server in self.all(ModelServer)}
        entry = route_key(namespace, name)
        entries = {entry: self.serving[entry]} if entry in self.serving else {}
        return modelroute.decide(resource, rivals, servers, entries, now=self.now)

    def act(self, plan: Plan) -> None:
        self.requests += len(plan.applies) + len(plan.deletes) + (plan.status is not None) + len(plan.notices)
        for resource in plan.applies:
            self.put(resource)
        for key, value in plan.serving.items():
            self.serving.pop(key, None)
            if value is not None:
                self.serving[key] = encode(value)
        for resource in plan.deletes:
            self._delete(resource.key)
        if plan.status is not None:
            status = plan.status.to_json().get("status", {})
            before = self._objects[plan.status.key]
            self._objects[plan.status.key] = merge.with_status(before, status, plan.status.metadata.uid)

    def reconcile_once(self) -> bool:
        """One look at everything; True when nothing was to be done."""
        plans = []
        for kind in RECONCILED:
            for resource in self.all(kind):
                plans.append(self.decide(resource))
                self.act(plans[-1])
        collected = self._collect_garbage()
        return all(plan.is_empty for plan in plans) and not collected

    def settle(self, rounds: int = 8) -> None:
        for _ in range(rounds):
            if self.reconcile_once():
                return
        raise AssertionError(f"not at rest after {rounds} looks at everything")

    def _collect_garbage(self) -> bool:
        everything = [resource for kind in KINDS.values() for resource in self.all(kind.type)]
        lost = orphans(everything)
        for resource in lost:
            self._delete(resource.key)
        for key in list(self.serving):
            family, namespace, *names = parse_key(key)
            name = names[-1] if family == "adapters" else names[0]
            kind = "ModelRoute" if family == "route" else "ModelServer"
            if (kind, namespace, name) not in self._objects:
                del self.serving[key]
        return bool(lost)

    def _delete(self, key: Key) -> None:
        body = self._objects[key]
        if key[0] == "Pod" and "nodeName" in body["spec"]:
            self._objects[key] = merge.marked_deleted(body, now=self.now)
        else:
            del self._objects[key]

    def _read(self, kind: type[R], body: dict[str, Any]) -> R:
        return kind.read(json.loads(json.dumps(body)))


def _may_concern(infer: ModelInfer, pod: Pod) -> bool:
    name = infer.metadata.name
    return pod.metadata.labels.get(labels.MODELINFER) == name or pod.metadata.name.startswith(f"{name}-")
