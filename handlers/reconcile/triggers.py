"""Whom a change concerns: the keys that shall be reconciled because of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import PodGroup
from matrixinfer.handlers.api.service import Service
from matrixinfer.handlers.cluster.port import ObjectChange
from matrixinfer.handlers.reconcile.plan import differs

RECONCILED = ("Model", "ModelInfer", "ModelServer", "ModelRoute", "AutoScalingPolicy", "AutoScalingPolicyBinding")


class Key(NamedTuple):
    kind: str
    namespace: str
    name: str


def concerned(change: ObjectChange) -> set[Key]:
    """The object itself and its owner, of a Model's Pod the Model too: it tells what is wrong with them. A change of
    the status alone concerns these only, or nobody."""
    newest = change.newest
    keys: set[Key] = set()
    if newest.kind in RECONCILED and is_more_than_status(change):
        keys.add(Key(*newest.key))
    owner = newest.owner()
    if owner is not None and owner.kind in RECONCILED and not _is_others_business(change):
        keys.add(Key(owner.kind, newest.metadata.namespace, owner.name))
    if isinstance(newest, Pod) and labels.MODEL in newest.metadata.labels:
        keys.add(Key("Model", newest.metadata.namespace, newest.metadata.labels[labels.MODEL]))
    return keys


def _is_others_business(change: ObjectChange) -> bool:
    """What is made for other controllers has a status that nobody here reads, and some no generation."""
    before, after = change.before, change.after
    if not isinstance(after, Service | PodGroup) or before is None:
        return False
    return not differs(after, before)


def concerned_by_name_or_label(
    change: ObjectChange, servers: Iterable[ModelServer], routes: Iterable[ModelRoute]
) -> set[Key]:
    """Who refers to the object without owning it. `servers` and `routes`: all there are."""
    newest = change.newest
    if isinstance(newest, Pod):
        return _pools_of(change, servers)
    if isinstance(newest, ModelServer):
        return _around_server(change, servers, routes)
    if isinstance(newest, ModelRoute):
        return _rivals(change, routes)
    return set()


def around_bindings(change: ObjectChange, bindings: Iterable[AutoScalingPolicyBinding]) -> set[Key]:
    """`bindings`: all there are. A policy or a ModelInfer concerns those that name it; a binding its policies and those
    that want the same targets, of what it was and of what it is."""
    newest = change.newest
    near = [one for one in bindings if one.metadata.namespace == newest.metadata.namespace]
    if isinstance(newest, AutoScalingPolicy):
        return {Key(*one.key) for one in near if one.spec.policy_ref.name == newest.metadata.name}
    if isinstance(newest, ModelInfer):
        return {Key(*one.key) for one in near if any(claim.name == newest.metadata.name for claim in one.claims)}
    if isinstance(newest, AutoScalingPolicyBinding):
        sides = [side for side in (change.before, change.after) if isinstance(side, AutoScalingPolicyBinding)]
        policies = {Key("AutoScalingPolicy", newest.metadata.namespace, side.spec.policy_ref.name) for side in sides}
        return policies | {Key(*one.key) for one in near if any(_share(one, side) for side in sides)}
    return set()


def _share(one: AutoScalingPolicyBinding, other: AutoScalingPolicyBinding) -> bool:
    return any(claim.overlaps(wanted) for claim in one.claims for wanted in other.claims)


def is_more_than_status(change: ObjectChange) -> bool:
    if change.before is None or change.after is None:
        return True
    return _without_status(change.before) != _without_status(change.after)


def _without_status(resource: Resource) -> tuple[object, ...]:
    metadata = resource.metadata
    return (
        metadata.uid,
        metadata.generation,
        metadata.labels,
        metadata.annotations,
        metadata.owner_references,
        metadata.deletion_timestamp,
    )


def _pools_of(change: ObjectChange, servers: Iterable[ModelServer]) -> set[Key]:
    """Also the pools that the pod has left by a change of its labels."""
    sides = [side for side in (change.before, change.after) if side is not None]
    return {Key(*server.key) for server in servers if any(server.selects(side) for side in sides)}


def _around_server(change: ObjectChange, servers: Iterable[ModelServer], routes: Iterable[ModelRoute]) -> set[Key]:
    """Pools that may win or lose pods, and routes that lead here."""
    namespace, name = change.newest.metadata.namespace, change.newest.metadata.name
    sides = [side for side in (change.before, change.after) if isinstance(side, ModelServer)]
    keys = {Key(*other.key) for other in servers if other.metadata.namespace == namespace and _overlap(other, sides)}
    return keys | {Key(*route.key) for route in routes if route.metadata.namespace == namespace and _leads(route, name)}


def _overlap(server: ModelServer, others: Iterable[ModelServer]) -> bool:
    """Could one pod have the labels of both selectors?"""
    own = server.spec.workload_selector.match_labels
    selectors = (other.spec.workload_selector.match_labels for other in others)
    return any(all(own.get(name, value) == value for name, value in selector.items()) for selector in selectors)


def _leads(route: ModelRoute, server: str) -> bool:
    return any(
        server in rule.fallbacks or any(target.model_server_name == server for target in rule.target_models)
        for rule in route.spec.rules
    )


def _rivals(change: ObjectChange, routes: Iterable[ModelRoute]) -> set[Key]:
    """Routes that share a name with what the route was or is."""
    sides = [side for side in (change.before, change.after) if isinstance(side, ModelRoute)]
    names = frozenset[str]().union(*(side.names for side in sides))
    return {Key(*route.key) for route in routes if route.names & names}
