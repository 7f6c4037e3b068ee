"""ModelInfer → Pods, what stands beside them, and the records of its templates: made, scaled, replaced, recovered,
drained. Pure.

A Pod is replaced by letting it go; when it is gone, its place is free. The status tells how it is after the plan.
A plan makes and deletes a portion at most: other objects, whose keys wait behind this one's, get their turn between.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.modelinfer import ModelInfer, Role
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.rollout import resolved
from matrixinfer.handlers.reconcile.infer.census import Census, Loads, is_leaving
from matrixinfer.handlers.reconcile.infer.companions import ALONE, Around, Beside, service_name
from matrixinfer.handlers.reconcile.infer.drain import Leaving, leave
from matrixinfer.handlers.reconcile.infer.gang import Gate, marked
from matrixinfer.handlers.reconcile.infer.making import Maker
from matrixinfer.handlers.reconcile.infer.places import Instance, Place, name_at, places
from matrixinfer.handlers.reconcile.infer.podgroups import group_name, is_by_volcano
from matrixinfer.handlers.reconcile.infer.recovery import Recovered, recovered
from matrixinfer.handlers.reconcile.infer.status import Scene, status_of
from matrixinfer.handlers.reconcile.infer.templates import Templates
from matrixinfer.handlers.reconcile.infer.turnover import Turn, Turnover, paused
from matrixinfer.handlers.reconcile.plan import Notice, Plan, counted, listed

PORTION = 100
"""Pods that one plan makes, and that it deletes: about a tenth of a second's work."""

NEXT_PORTION_S = 0.05


def decide(
    infer: ModelInfer,
    pods: Iterable[Pod],
    revisions: Iterable[ControllerRevision],
    loads: Loads,
    *,
    now: float,
    around: Around = ALONE,
) -> Plan:
    """`pods`: every Pod with the label of this ModelInfer, and every one with a name of `possible_names`. `revisions`:
    every record with its label. `loads`: what is known of the requests that its Pods have."""
    templates = Templates(infer, revisions)
    by_volcano = is_by_volcano(infer, served=around.serves_pod_groups)
    maker = Maker(infer, templates, around.plugins, by_volcano=by_volcano)
    census = Census(infer, templates, pods, loads)
    gate = Gate(infer, templates, census, by_volcano=by_volcano)
    opened = gate.open(PORTION)
    is_new_template = bool(infer.status.update_revision) and infer.status.update_revision != templates.update
    recovery = recovered(infer, census, is_new_template=is_new_template, now=now)
    trouble = maker.trouble(templates.update)
    turnover = Turn(paused(infer) if trouble else infer, templates, census, recovery.leaving).turnover()
    leaving = leave(infer, _leaving_units(census, turnover, recovery), loads, now)
    beside = Beside(infer, templates, around, by_volcano=by_volcano)
    wanted = _wanted(infer, census, turnover, beside, maker)
    portion = wanted.missing[:PORTION]
    companions = beside.companions(census, turnover, portion)
    record = templates.to_keep()
    scene = Scene(turnover, recovery, portion, wanted.taken, trouble, gate)
    status = status_of(infer, templates, census, scene, now)
    waits_s = [*recovery.waits_s, *leaving.waits_s]
    if max(len(wanted.missing), len(leaving.deleted), len(leaving.marked)) > PORTION or len(opened) == PORTION:
        waits_s.append(NEXT_PORTION_S)
    made = [_made(maker, gate, place, turnover.wanted[place]) for place in portion]
    return Plan(
        applies=(*_some(record), *_staying(opened, leaving), *leaving.marked[:PORTION], *companions.applies, *made),
        deletes=(
            *_last_first(leaving)[:PORTION],
            *companions.deletes,
            *_forgotten(templates, census, turnover),
        ),
        status=None if status == infer.status else infer.model_copy(update={"status": status}),
        again_after_s=min(waits_s, default=None),
        notices=tuple(_notices(infer, portion, leaving, recovery)),
    )


def possible_names(infer: ModelInfer) -> Iterator[str]:
    """Of Pods that it may want: with them come the namesakes, which are not its own."""
    for instance, role in _possible(infer):
        for place in places(instance, role):
            yield name_at(infer, place)


def possible_services(infer: ModelInfer) -> Iterator[str]:
    for instance, role in _possible(infer):
        if role.worker_replicas:
            yield service_name(infer, instance)


def possible_groups(infer: ModelInfer) -> Iterator[str]:
    yield from sorted({group_name(infer, instance.group) for instance, _ in _possible(infer)})


def _possible(infer: ModelInfer) -> Iterator[tuple[Instance, Role]]:
    strategy = infer.spec.rollout_strategy
    surge = strategy.rolling_update_configuration.max_surge
    more = (0, 1) if strategy.by_role else (1, 0)
    groups = infer.spec.replicas + more[0] * resolved(surge, infer.spec.replicas)
    for role in infer.spec.template.roles:
        instances = role.replicas + more[1] * resolved(surge, role.replicas)
        for group, instance in itertools.product(range(groups), range(instances)):
            yield Instance(group, role.name, instance), role


def _leaving_units(census: Census, turnover: Turnover, recovery: Recovered) -> list[list[Pod]]:
    """What goes together: of a group that goes all its Pods, else those of an instance, else a Pod alone."""
    units: list[list[Pod]] = []
    for number, group in census.groups.items():
        is_whole = number in turnover.retired_groups or all(present.leaves for present in group.values())
        if is_whole:
            units.append([pod for present in group.values() for pod in present.pods.values()])
            continue
        for instance, present in group.items():
            if _goes(instance, turnover, recovery) or present.leaves:
                units.append(list(present.pods.values()))
            else:
                units += [[pod] for place, pod in present.pods.items() if place in recovery.alone or is_leaving(pod)]
    return units


def _goes(instance: Instance, turnover: Turnover, recovery: Recovered) -> bool:
    return instance in turnover.retired or instance in recovery.leaving


class _Wanted(NamedTuple):
    """`missing` can be made; `taken` are names of somebody else's objects that are in the way of more."""

    missing: list[Place]
    taken: set[str]


def _wanted(infer: ModelInfer, census: Census, turnover: Turnover, beside: Beside, maker: Maker) -> _Wanted:
    there = {place for present in census.instances() for place in present.pods}
    result = _Wanted([], set())
    for place, revision in sorted(turnover.wanted.items()):
        if place in there:
            continue
        name = name_at(infer, place)
        taken = name if name in census.foreign else beside.taken_name(place, revision)
        if taken:
            result.taken.add(taken)
        elif not maker.trouble(revision):
            result.missing.append(place)
    return result


def _made(maker: Maker, gate: Gate, place: Place, revision: str) -> Pod:
    pod = maker.pod(place, revision)
    return marked(pod) if gate.lets_wait(place.group) else pod


def _staying(pods: list[Pod], leaving: Leaving) -> list[Pod]:
    going = {pod.metadata.uid for pod in (*leaving.marked, *leaving.deleted)}
    return [pod for pod in pods if pod.metadata.uid not in going]


def _some(record: ControllerRevision | None) -> list[ControllerRevision]:
    return [] if record is None else [record]


def _notices(infer: ModelInfer, made: list[Place], leaving: Leaving, recovery: Recovered) -> Iterator[Notice]:
    """What the plan does, and why where something failed."""
    for failures in recovery.failures:
        if failures not in infer.status.failures:
            times = counted(failures.count, "time")
            yield Notice("Failed", f"{failures.unit} failed, {times} in a row; it is made anew", is_warning=True)
    for reason, verb, names in (
        ("PodsMade", "made", [name_at(infer, place) for place in made]),
        ("PodsDrain", "let finish what they run", [pod.metadata.name for pod in leaving.marked[:PORTION]]),
        ("PodsDeleted", "deleted", [pod.metadata.name for pod in _last_first(leaving)[:PORTION]]),
    ):
        if names:
            yield Notice(reason, f"{verb} {listed(names)}")


def _last_first(leaving: Leaving) -> list[Pod]:
    return sorted(leaving.deleted, key=lambda pod: pod.metadata.name, reverse=True)


def _forgotten(templates: Templates, census: Census, turnover: Turnover) -> list[ControllerRevision]:
    used = {present.revision for present in census.instances()} | set(turnover.wanted.values())
    return templates.to_forget(used)
