"""All or nothing: how much of a group must be there before any of it counts. Pure.

Where Volcano schedules, it sees to that. Elsewhere Pods are made with the annotation `matrixinfer.ai/gang: waiting`: a
Pod that has it is in no pool and makes no group available. It is taken off all Pods of a group when the group's minimum
is ready, and does not come again: a group that loses a part later goes on with what it has, and what comes anew waits.
"""

from __future__ import annotations

from collections.abc import Iterator

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.modelinfer import ModelInfer, Role
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.infer.census import Census, is_leaving, waits_for_gang


def least(infer: ModelInfer, role: Role) -> int:
    """Instances of the role that a group cannot do without."""
    policy = infer.spec.template.gang_policy
    wanted = policy.min_role_replicas.get(role.name, role.replicas) if policy is not None else role.replicas
    return min(wanted, role.replicas)


class Gate:
    """`by_volcano`: the groups have PodGroups, and nothing waits here."""

    def __init__(self, infer: ModelInfer, *, by_volcano: bool) -> None:
        self._infer = infer
        self._is_used = infer.spec.template.gang_policy is not None and not by_volcano

    def lets_wait(self, census: Census, group: int) -> bool:
        """Pods that are made for it now?"""
        return self._is_used and bool(self.lacks(census, group))

    def open(self, census: Census, most: int) -> list[Pod]:
        """Pods that need not wait any more, `most` at a time; in the census they are so from now on."""
        opened: list[Pod] = []
        for number, group in census.groups.items():
            waiting = [
                (present, place, pod)
                for present in group.values()
                for place, pod in present.pods.items()
                if waits_for_gang(pod) and not is_leaving(pod)
            ]
            if not waiting or self.lets_wait(census, number):
                continue
            for present, place, pod in waiting[: most - len(opened)]:
                present.pods[place] = _without_mark(pod)
                opened.append(present.pods[place])
        return opened

    def lacks(self, census: Census, group: int) -> list[str]:
        """What the group has less than its minimum of: `decode: 0 of 1`."""
        return list(self._lacks(census, group))

    def _lacks(self, census: Census, group: int) -> Iterator[str]:
        present = census.groups[group].values() if group in census.groups else ()
        for name, role in census.roles_of(group).items():
            ready = sum(one.is_up(role) for one in present if one.instance.role == name)
            wanted = least(self._infer, role)
            if ready < wanted:
                yield f"{name}: {ready} of {wanted}"

    def waiting(self, census: Census) -> dict[int, list[str]]:
        """Groups of which Pods wait, and for what."""
        return {
            number: self.lacks(census, number)
            for number, group in census.groups.items()
            if any(waits_for_gang(pod) for present in group.values() for pod in present.pods.values())
        }


def marked(pod: Pod) -> Pod:
    """Waits for its group."""
    annotations = pod.metadata.annotations | {labels.GANG: labels.WAITING}
    return pod.model_copy(update={"metadata": pod.metadata.model_copy(update={"annotations": annotations})})


def _without_mark(pod: Pod) -> Pod:
    annotations = {name: value for name, value in pod.metadata.annotations.items() if name != labels.GANG}
    return pod.model_copy(update={"metadata": pod.metadata.model_copy(update={"annotations": annotations})})
