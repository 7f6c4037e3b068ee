"""All or nothing: how much of a group must be there before any of it counts. Pure.

Where Volcano schedules, it sees to that. Elsewhere Pods are made with the annotation `matrixinfer.ai/gang: waiting`: a
Pod that has it is in no pool and makes no group available. It is taken off all Pods of a group when the group's minimum
is ready, and does not come again: a group that loses a part later goes on with what it has, and what comes anew waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.modelinfer import ModelInfer, Role
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.infer.census import Census, Present, is_leaving, waits_for_gang
from matrixinfer.handlers.reconcile.infer.templates import Templates


def least(infer: ModelInfer, role: Role) -> int:
    """Instances of the role that a group cannot do without."""
    policy = infer.spec.template.gang_policy
    wanted = policy.min_role_replicas.get(role.name, role.replicas) if policy is not None else role.replicas
    return min(wanted, role.replicas)


class Gate:
    """`by_volcano`: the groups have PodGroups, and nothing waits here."""

    def __init__(self, infer: ModelInfer, templates: Templates, census: Census, *, by_volcano: bool) -> None:
        self._infer = infer
        self._templates = templates
        self._census = census
        self._is_used = infer.spec.template.gang_policy is not None and not by_volcano

    def lets_wait(self, group: int) -> bool:
        """Pods that are made for it now?"""
        return self._is_used and bool(self._lacks(group, self._present(group)))

    def open(self, most: int) -> list[Pod]:
        """Pods that need not wait any more, `most` at a time; in the census they are so from now on."""
        opened: list[Pod] = []
        for number in list(self._census.groups):
            waiting = [
                (present, place, pod)
                for present in self._present(number)
                for place, pod in present.pods.items()
                if waits_for_gang(pod) and not is_leaving(pod)
            ]
            if not waiting or self.lets_wait(number):
                continue
            for present, place, pod in waiting[: most - len(opened)]:
                present.pods[place] = _without_mark(pod)
                opened.append(present.pods[place])
        return opened

    def waiting(self, staying: Iterable[Present], made: Iterable[int]) -> dict[int, list[str]]:
        """Groups of which Pods wait, and what they lack. `made`: those of which Pods are made now."""
        groups: dict[int, list[Present]] = {}
        for present in staying:
            groups.setdefault(present.instance.group, []).append(present)
        numbers = {number for number, found in groups.items() if any(one.waits for one in found)}
        numbers |= {number for number in made if self.lets_wait(number)}
        return {number: self._lacks(number, groups.get(number, ())) for number in sorted(numbers)}

    def _present(self, group: int) -> list[Present]:
        return list(self._census.groups[group].values()) if group in self._census.groups else []

    def _lacks(self, group: int, present: Iterable[Present]) -> list[str]:
        """What the group has less than its minimum of: `decode: 0 of 1`."""
        found = list(present)
        lacks = []
        for name, role in self._roles(group).items():
            ready = sum(one.is_up(role) for one in found if one.instance.role == name)
            wanted = least(self._infer, role)
            if ready < wanted:
                lacks.append(f"{name}: {ready} of {wanted}")
        return lacks

    def _roles(self, group: int) -> Mapping[str, Role]:
        """Of the template that the group lives by, or, instance by instance, goes over to."""
        if self._infer.spec.rollout_strategy.by_role:
            return self._templates.roles(self._templates.update)
        return self._census.roles_of(group)


def marked(pod: Pod) -> Pod:
    """Waits for its group."""
    annotations = pod.metadata.annotations | {labels.GANG: labels.WAITING}
    return pod.model_copy(update={"metadata": pod.metadata.model_copy(update={"annotations": annotations})})


def _without_mark(pod: Pod) -> Pod:
    annotations = {name: value for name, value in pod.metadata.annotations.items() if name != labels.GANG}
    return pod.model_copy(update={"metadata": pod.metadata.model_copy(update={"annotations": annotations})})
