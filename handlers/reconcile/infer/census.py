"""Who is there: the Pods of a ModelInfer by group and instance, and how each of these is. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.modelinfer import ModelInfer, Role
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.infer.balance import Unit
from matrixinfer.handlers.reconcile.infer.places import Instance, Place, place_of, places
from matrixinfer.handlers.reconcile.infer.templates import Templates

Loads = Mapping[str, int]
"""Requests that each Pod has, by its name; nobody knows of Pods that are not in it."""


def is_leaving(pod: Pod) -> bool:
    return pod.is_terminating or labels.DRAIN_SINCE in pod.metadata.annotations


def waits_for_gang(pod: Pod) -> bool:
    return pod.metadata.annotations.get(labels.GANG) == labels.WAITING


@dataclass
class Present:
    """The Pods of one instance. `revision` is the template's that the first of them was made from."""

    instance: Instance
    pods: dict[Place, Pod] = field(default_factory=dict)

    @property
    def revision(self) -> str:
        return next(iter(self.pods.values())).metadata.labels.get(labels.REVISION, "")

    @property
    def role_revision(self) -> str:
        return next(iter(self.pods.values())).metadata.labels.get(labels.ROLE_REVISION, "")

    @property
    def leaves(self) -> bool:
        return all(is_leaving(pod) for pod in self.pods.values())

    def is_ready(self, role: Role | None) -> bool:
        """Does it serve? Is it up, and waits for nobody?"""
        return self.is_up(role) and not self.waits

    @property
    def waits(self) -> bool:
        """Does any of its Pods wait for the rest of the group?"""
        return any(waits_for_gang(pod) for pod in self.pods.values())

    def is_up(self, role: Role | None) -> bool:
        """Are all its Pods there, ready, and staying?"""
        if role is None:
            return False
        wanted = [self.pods.get(place) for place in places(self.instance, role)]
        return all(pod is not None and pod.is_ready and not is_leaving(pod) for pod in wanted)

    def cost(self) -> int:
        return sum(_number(pod.metadata.annotations.get(labels.DELETION_COST, "")) for pod in self.pods.values())

    def load(self, loads: Loads) -> int:
        return sum(loads.get(pod.metadata.name, 0) for pod in self.pods.values())


class Census:
    """`foreign` are names that somebody else's Pods have."""

    def __init__(self, infer: ModelInfer, templates: Templates, pods: Iterable[Pod], loads: Loads) -> None:
        self._templates = templates
        self._loads = loads
        self.foreign: set[str] = set()
        self.groups: defaultdict[int, dict[Instance, Present]] = defaultdict(dict)
        for pod in pods:
            place = place_of(infer, pod)
            if place is None or not pod.is_owned_by(infer):
                self.foreign.add(pod.metadata.name)
                continue
            self.groups[place.group].setdefault(place.of, Present(place.of)).pods[place] = pod

    def instances(self) -> Iterator[Present]:
        for group in self.groups.values():
            yield from group.values()

    def revision_of(self, group: int) -> str:
        """By which template a group lives: that of its oldest instance which stays. The present one for an unknown."""
        present = self.groups[group].values() if group in self.groups else ()
        staying = [one for one in present if not one.leaves]
        revision = next((one.revision for one in staying), "")
        return revision if self._templates.knows(revision) else self._templates.update

    def roles_of(self, group: int) -> Mapping[str, Role]:
        """By the template that the group lives by."""
        return self._templates.roles(self.revision_of(group))

    def is_outdated_group(self, group: int, gone: Set[Instance] = frozenset()) -> bool:
        """Has any instance that stays, or the set of its roles, changed since?"""
        present = self.groups[group].values()
        if any(self.is_outdated(one) for one in present if not (one.leaves or one.instance in gone)):
            return True
        return self.roles_of(group).keys() != self._templates.roles(self._templates.update).keys()

    def effective_revision(self, present: Present) -> str:
        """One whose role has not changed since counts as made from the present template."""
        return present.revision if self.is_outdated(present) else self._templates.update

    def is_outdated(self, present: Present) -> bool:
        roles = self._templates.roles(self._templates.update)
        role = present.instance.role
        return role not in roles or present.role_revision != self._templates.role_revision(self._templates.update, role)

    def group_unit(
        self, number: int, *, replaced_whole: bool, leaving: set[Instance], gone: Set[Instance] = frozenset()
    ) -> Unit:
        """`leaving`: instances that shall go, whatever their Pods say. A group leaves when all of it does. Those that
        are `gone` do not make it outdated any more."""
        present = self.groups[number].values()
        roles = self.roles_of(number)
        ready = defaultdict[str, int](int)
        for one in present:
            if one.instance not in leaving:
                ready[one.instance.role] += one.is_ready(roles.get(one.instance.role))
        return Unit(
            number,
            is_outdated=replaced_whole and self.is_outdated_group(number, gone),
            is_ready=all(ready[name] >= role.replicas for name, role in roles.items()),
            leaves=all(one.leaves or one.instance in leaving for one in present),
            cost=sum(one.cost() for one in present),
            load=sum(one.load(self._loads) for one in present),
        )

    def instance_unit(self, present: Present, role: Role, *, replaced: bool, leaving: set[Instance]) -> Unit:
        return Unit(
            present.instance.number,
            is_outdated=replaced and self.is_outdated(present),
            is_ready=present.is_ready(role) and present.instance not in leaving,
            leaves=present.leaves or present.instance in leaving,
            cost=present.cost(),
            load=present.load(self._loads),
        )


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
