"""What the status of a ModelInfer says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.conditions import condition, updated
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelinfer import ModelInfer, ModelInferStatus, RoleStatus
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.reconcile.infer.census import Census, Present, is_leaving
from matrixinfer.handlers.reconcile.infer.gang import Gate
from matrixinfer.handlers.reconcile.infer.places import Instance, Place
from matrixinfer.handlers.reconcile.infer.recovery import Recovered
from matrixinfer.handlers.reconcile.infer.templates import Templates
from matrixinfer.handlers.reconcile.infer.turnover import Turnover
from matrixinfer.handlers.reconcile.plan import counted, listed


class Scene(NamedTuple):
    """`missing` is made by this plan. `taken`: names that wanted places need, and that somebody else's objects have.
    `trouble`: why Pods cannot be made. `gate`: what keeps groups waiting for their minimum."""

    turnover: Turnover
    recovery: Recovered
    missing: list[Place]
    taken: set[str]
    trouble: str
    gate: Gate

    def staying(self, census: Census) -> list[Present]:
        """The instances that are there and shall be, when the plan is done."""
        going = self.turnover.retired | self.recovery.leaving
        return [
            present
            for present in census.instances()
            if present.instance.group in self.turnover.staying_groups
            and not (present.leaves or present.instance in going)
        ]


def status_of(infer: ModelInfer, templates: Templates, census: Census, scene: Scene, now: float) -> ModelInferStatus:
    turnover = scene.turnover
    staying = scene.staying(census)
    groups = {place.group for place in scene.missing} | {present.instance.group for present in staying}
    revisions = _revisions(census, scene, staying)
    updated_groups = sum(revision == {templates.update} for revision in revisions.values())
    available = min(turnover.ready_groups, infer.spec.replicas)
    current = _current_revision(infer, templates, turnover, updated_groups)
    conditions = (
        _available(infer, available, scene.gate.waiting(staying, {place.group for place in scene.missing})),
        _progressing(infer, census, scene),
        _updating(infer, turnover, updated_groups),
        _degraded(infer, scene.recovery, {present.instance for present in staying}),
    )
    generation = infer.metadata.generation
    return ModelInferStatus(
        observed_generation=generation,
        replicas=len(groups),
        updated_replicas=updated_groups,
        current_replicas=sum(revision == {current} for revision in revisions.values()),
        available_replicas=available,
        current_revision=current,
        update_revision=templates.update,
        label_selector=_selector(infer),
        roles=_roles(infer, scene.missing, staying),
        failures=scene.recovery.failures,
        conditions=updated(infer.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )


def _revisions(census: Census, scene: Scene, staying: list[Present]) -> dict[int, set[str]]:
    """Of each group that stays or is begun: what its Pods are made from."""
    revisions: dict[int, set[str]] = {number: set() for number in scene.turnover.staying_groups}
    for place in scene.missing:
        revisions.setdefault(place.group, set()).add(scene.turnover.wanted[place])
    for present in staying:
        revisions[present.instance.group].add(census.effective_revision(present))
    return revisions


def _current_revision(infer: ModelInfer, templates: Templates, turnover: Turnover, updated_groups: int) -> str:
    """Moves on when nothing of a former template is left, and enough of the present one is there."""
    before = infer.status.current_revision
    is_rolled_out = not turnover.outdated and updated_groups >= infer.spec.replicas
    if is_rolled_out or not before or not templates.knows(before):
        return templates.update
    return before


def _roles(infer: ModelInfer, missing: list[Place], staying: list[Present]) -> tuple[RoleStatus, ...]:
    instances = {place.of for place in missing} | {present.instance for present in staying}
    return tuple(
        RoleStatus(
            name=role.name,
            replicas=sum(instance.role == role.name for instance in instances),
            ready_replicas=sum(p.is_up(role) for p in staying if p.instance.role == role.name),
        )
        for role in infer.spec.template.roles
    )


def _selector(infer: ModelInfer) -> str:
    first = infer.spec.template.roles[0].name
    pairs = {labels.MODELINFER: infer.metadata.name, labels.ROLE: first, labels.ROLE_INDEX: "0", labels.ENTRY: "true"}
    return ",".join(f"{name}={value}" for name, value in pairs.items())


def _available(infer: ModelInfer, available: int, waiting: Mapping[int, list[str]]) -> Condition:
    replicas = infer.spec.replicas
    message = f"{available} of {counted(replicas, 'group')} ready"
    if waiting:
        lacking = [f"group {number} ({', '.join(lacks)})" for number, lacks in waiting.items()]
        message += f"; waiting for their minimum: {listed(lacking)}"
    if available >= replicas:
        return condition("Available", True, "AllGroupsReady" if replicas else "ScaledToZero", message)
    return condition("Available", False, "GroupsNotReady", message)


def _progressing(infer: ModelInfer, census: Census, scene: Scene) -> Condition:
    if scene.taken:
        message = f"somebody else's objects have the names {listed(scene.taken)}; delete them or rename the ModelInfer"
        return condition("Progressing", False, "NameTaken", message)
    if scene.trouble:
        return condition("Progressing", False, "BadPlugin", f"{scene.trouble}; nothing is made or replaced with it")
    pods = {place: pod for present in census.instances() for place, pod in present.pods.items()}
    failed = sorted(place for place, pod in pods.items() if pod.has_ended)
    if failed:
        pod = pods[failed[0]]
        message = f"pod {pod.metadata.name} ended ({pod.status.phase}): {pod.status.message or 'it gave no message'}"
        return condition("Progressing", True, "PodsFailed", message)
    staying = {present.instance for present in scene.staying(census)}
    leaving = [place for place, pod in pods.items() if place.of not in staying or is_leaving(pod)]
    wanted = scene.turnover.wanted
    waiting = [place for place in wanted if place not in pods or not pods[place].is_ready]
    if waiting or leaving:
        message = f"waiting for {counted(len(waiting), 'pod')}, removing {counted(len(leaving), 'pod')}"
        return condition("Progressing", True, "PodsChanging", message)
    return condition("Progressing", False, "Complete", f"{counted(len(wanted), 'pod')} as wanted")


def _updating(infer: ModelInfer, turnover: Turnover, updated_groups: int) -> Condition:
    strategy = infer.spec.rollout_strategy
    noun = "instance" if strategy.by_role else "group"
    if not turnover.outdated:
        return condition("UpdateInProgress", False, "UpToDate", f"{counted(updated_groups, 'group')} up to date")
    message = f"{counted(turnover.outdated, noun)} of a former template"
    if strategy.paused:
        return condition("UpdateInProgress", False, "Paused", f"{message}; the rollout is paused")
    partition = strategy.rolling_update_configuration.partition
    if partition not in (0, "0%"):
        message += f"; partition {partition} stays as it is"
    return condition("UpdateInProgress", True, "Replacing", message)


def _degraded(infer: ModelInfer, recovery: Recovered, staying: set[Instance]) -> Condition:
    """Of what stays: what the plan takes away troubles nobody any more."""
    hopeless = _with_some_of(staying, recovery.hopeless)
    if not hopeless:
        return condition("Degraded", False, "Recovering" if _with_some_of(staying, recovery.kept) else "Well")
    budget = counted(infer.spec.recovery.budget or 0, "time")
    message = f"{listed(hopeless)} failed {budget} in a row and is left as it is: see its pods' logs"
    return condition("Degraded", True, "CrashLoop", message)


def _with_some_of(staying: set[Instance], units: Mapping[str, set[Place]]) -> list[str]:
    return [unit for unit, failed in units.items() if any(place.of in staying for place in failed)]
