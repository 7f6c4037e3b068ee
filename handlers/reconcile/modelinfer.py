"""ModelInfer → Pods: missing ones are made, surplus, outdated and failed ones deleted. Pure.

A Pod is replaced by deleting it; when it is gone, it is missing. The status tells how it is when the plan is done.
A plan makes and deletes a portion at most: other objects, whose keys wait behind this one's, get their turn between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.conditions import condition, updated
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelinfer import ModelInfer, ModelInferStatus, RecoveryPolicy
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp, unix_seconds
from matrixinfer.handlers.reconcile.plan import Plan, counted, listed
from matrixinfer.handlers.reconcile.pods import Place, Slot, made, place_of, revision_of, wanted_slots

FAILED_POD_KEPT_S = 10.0
"""A Pod that failed is replaced when it is this old, so that one that fails at once is not made in a tight loop."""

PORTION = 100
"""Pods that one plan makes, and that it deletes: about a tenth of a second's work."""

NEXT_PORTION_S = 0.05


@dataclass(frozen=True)
class _Scene:
    """`missing` is made by this plan. `blocked` slots are wanted, but somebody else's Pod has the name. `leaving`
    shall go or is going."""

    slots: Mapping[Place, Slot]
    present: Mapping[Place, Pod]
    missing: frozenset[Place]
    blocked: frozenset[Place]
    leaving: frozenset[Place]


def decide(infer: ModelInfer, pods: Iterable[Pod], *, now: float) -> Plan:
    """`pods`: every Pod with the label of this ModelInfer, and every one with a name that it wants."""
    slots = wanted_slots(infer)
    present, foreign_names = _sorted_out(infer, pods)
    absent = slots.keys() - present.keys()
    blocked = frozenset(place for place in absent if slots[place].name in foreign_names)
    failed = {place: pod for place, pod in present.items() if pod.has_ended and not pod.is_terminating}
    waits_s = {place: _still_kept_s(pod, now) for place, pod in failed.items()}
    leaving = {place for place, pod in present.items() if pod.is_terminating or _is_unwanted(pod, slots.get(place))}
    ripe = {place for place, wait_s in waits_s.items() if wait_s <= 0}
    leaving |= _with_companions(ripe, present, infer.spec.recovery_policy)
    missing = sorted(absent - blocked)
    surplus = sorted((place for place in leaving if not present[place].is_terminating), reverse=True)
    scene = _Scene(slots, present, frozenset(missing[:PORTION]), blocked, frozenset(leaving))
    status = _status(infer, scene, now)
    dues_s = [wait_s for wait_s in waits_s.values() if wait_s > 0]
    if max(len(missing), len(surplus)) > PORTION:
        dues_s.append(NEXT_PORTION_S)
    return Plan(
        applies=tuple(made(infer, slots[place]) for place in missing[:PORTION]),
        deletes=tuple(present[place] for place in surplus[:PORTION]),
        status=None if status == infer.status else infer.model_copy(update={"status": status}),
        again_after_s=min(dues_s, default=None),
    )


def _sorted_out(infer: ModelInfer, pods: Iterable[Pod]) -> tuple[dict[Place, Pod], set[str]]:
    """This ModelInfer's own Pods by place, and the names of the others."""
    own: dict[Place, Pod] = {}
    foreign: set[str] = set()
    for pod in pods:
        place = place_of(infer, pod)
        if place is not None and pod.is_owned_by(infer):
            own[place] = pod
        else:
            foreign.add(pod.metadata.name)
    return own, foreign


def _is_unwanted(pod: Pod, slot: Slot | None) -> bool:
    """Surplus, or made from another template."""
    return slot is None or pod.metadata.labels.get(labels.REVISION) != slot.revision


def _still_kept_s(pod: Pod, now: float) -> float:
    created = pod.metadata.creation_timestamp
    return FAILED_POD_KEPT_S - (now - unix_seconds(created)) if created else 0.0


def _with_companions(failed: set[Place], present: Iterable[Place], policy: RecoveryPolicy) -> set[Place]:
    """What is made anew together with the failed Pods."""
    match policy:
        case RecoveryPolicy.GROUP:
            groups = {place.group for place in failed}
            return {place for place in present if place.group in groups}
        case RecoveryPolicy.ROLE:
            instances = {place[:3] for place in failed}
            return {place for place in present if place[:3] in instances}
        case RecoveryPolicy.NONE:
            return failed


def _status(infer: ModelInfer, scene: _Scene, now: float) -> ModelInferStatus:
    groups = range(infer.spec.replicas)
    staying = {place: pod for place, pod in scene.present.items() if place not in scene.leaving}
    stale = {place.group for place in scene.slots if place in scene.blocked or place in scene.leaving}
    unready = {place.group for place in scene.slots if place not in staying or not staying[place].is_ready}
    available = len([group for group in groups if group not in unready])
    conditions = (_available(infer, available), _progressing(scene))
    generation = infer.metadata.generation
    return ModelInferStatus(
        observed_generation=generation,
        replicas=len({place.group for place in (*staying, *scene.missing)}),
        updated_replicas=len([group for group in groups if group not in stale]),
        available_replicas=available,
        update_revision=revision_of(infer.spec.template.roles[0].entry_template),
        label_selector=f"{labels.MODELINFER}={infer.metadata.name}",
        conditions=updated(infer.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )


def _available(infer: ModelInfer, available: int) -> Condition:
    replicas = infer.spec.replicas
    message = f"{available} of {counted(replicas, 'group')} ready"
    if available == replicas:
        return condition("Available", True, "AllGroupsReady" if replicas else "ScaledToZero", message)
    return condition("Available", False, "GroupsNotReady", message)


def _progressing(scene: _Scene) -> Condition:
    if scene.blocked:
        names = listed(scene.slots[place].name for place in scene.blocked)
        message = f"somebody else's pods have the names {names}; delete them or rename the ModelInfer"
        return condition("Progressing", False, "NameTaken", message)
    failed = sorted(place for place, pod in scene.present.items() if pod.has_ended)
    if failed:
        pod = scene.present[failed[0]]
        message = f"pod {pod.metadata.name} ended ({pod.status.phase}): {pod.status.message or 'it gave no message'}"
        return condition("Progressing", True, "PodsFailed", message)
    waiting = [place for place in scene.slots if place not in scene.present or not scene.present[place].is_ready]
    if waiting or scene.leaving:
        message = f"waiting for {counted(len(waiting), 'pod')}, removing {counted(len(scene.leaving), 'pod')}"
        return condition("Progressing", True, "PodsChanging", message)
    return condition("Progressing", False, "Complete", f"{counted(len(scene.slots), 'pod')} as wanted")
