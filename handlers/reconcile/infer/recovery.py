"""What failed, what goes with it, and how long it stays as it is before it is made anew. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.durations import seconds
from matrixinfer.handlers.api.modelinfer import Failures, ModelInfer, RecoveryPolicy
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp, unix_seconds
from matrixinfer.handlers.reconcile.infer.census import Census, Present, is_leaving
from matrixinfer.handlers.reconcile.infer.places import Instance, Place

FORGIVEN_AFTER_S = 3600.0

RESTART_AND_UNREADY_S = 5.0
"""A Pod that is unready because a container of it restarted became so at that time, give or take this much."""


@dataclass
class Recovered:
    """`leaving` instances shall go, and so shall `alone`, Pods without their companions. `failures` is for the status;
    `hopeless` names units that are left as they are, `kept` those that are for a while, each with the places of what
    failed there. `waits_s`: when to look again."""

    leaving: set[Instance] = field(default_factory=set)
    alone: set[Place] = field(default_factory=set)
    failures: tuple[Failures, ...] = ()
    hopeless: dict[str, set[Place]] = field(default_factory=dict)
    kept: dict[str, set[Place]] = field(default_factory=dict)
    waits_s: list[float] = field(default_factory=list)


def recovered(infer: ModelInfer, census: Census, *, is_new_template: bool, now: float) -> Recovered:
    """`is_new_template`: what failed before says nothing of it."""
    result = Recovered()
    known = {one.unit: one for one in infer.status.failures if not is_new_template and not _is_forgiven(one, now)}
    for unit, broken in _broken_units(infer, census).items():
        before = known.get(unit)
        count = before.count if before is not None else 0
        if infer.spec.recovery.budget is not None and count >= infer.spec.recovery.budget:
            result.hopeless[unit] = set(broken.failed)
            continue
        wait_s = max(
            max(_still_kept_s(infer, pod, count, now), _grace_left_s(infer, pod, now)) for pod in broken.failed.values()
        )
        if wait_s > 0:
            result.waits_s.append(wait_s)
            result.kept[unit] = set(broken.failed)
            continue
        known[unit] = Failures(unit=unit, count=count + 1, at=timestamp(now))
        _retire(infer.spec.recovery_policy, census, broken.failed, result)
    for present in census.instances():
        is_torn = infer.spec.recovery_policy is not RecoveryPolicy.NONE and _is_torn(present)
        if is_torn or _goes_whole(present, result.alone):
            result.leaving.add(present.instance)
    result.failures = tuple(sorted(known.values(), key=lambda one: one.unit))
    return result


@dataclass
class _Broken:
    failed: dict[Place, Pod] = field(default_factory=dict)


def _broken_units(infer: ModelInfer, census: Census) -> dict[str, _Broken]:
    units: dict[str, _Broken] = {}
    for present in census.instances():
        for place, pod in present.pods.items():
            if not is_leaving(pod) and _has_failed(pod, has_companions=len(present.pods) > 1):
                units.setdefault(_unit(infer.spec.recovery_policy, place), _Broken()).failed[place] = pod
    return units


def _unit(policy: RecoveryPolicy, place: Place) -> str:
    match policy:
        case RecoveryPolicy.GROUP:
            return f"{place.group}"
        case RecoveryPolicy.ROLE:
            return f"{place.group}-{place.role}-{place.instance}"
        case RecoveryPolicy.NONE:
            return f"{place.group}-{place.role}-{place.instance}-{place.number}"


def _has_failed(pod: Pod, *, has_companions: bool) -> bool:
    """It ended; or one of its containers restarted without the engines of the other Pods, which cannot go on with it.
    A restart that it has got over is none, and neither is unreadiness for another reason."""
    return pod.has_ended or (has_companions and not pod.is_ready and _is_unready_by_restart(pod))


def _is_unready_by_restart(pod: Pod) -> bool:
    ready = find(pod.status.conditions, "Ready")
    since = ready.last_transition_time if ready is not None else None
    ends_s = _ends_s(pod)
    if not ends_s:
        return False
    return since is None or max(ends_s) >= unix_seconds(since) - RESTART_AND_UNREADY_S


def _still_kept_s(infer: ModelInfer, pod: Pod, failures: int, now: float) -> float:
    """Counted from its beginning: what ran long enough is made anew at once."""
    recovery, created = infer.spec.recovery, pod.metadata.creation_timestamp
    pause_s = min(seconds(recovery.max_backoff), seconds(recovery.backoff) * 2 ** min(failures, 30))
    return pause_s - (now - unix_seconds(created)) if created else 0.0


def _grace_left_s(infer: ModelInfer, pod: Pod, now: float) -> float:
    """How long it may still recover by itself. Counted by the Pod's own times: whoever looks comes to the same."""
    grace_s = infer.spec.template.restart_grace_period_seconds
    return 0.0 if pod.has_ended or not grace_s else grace_s - (now - _failing_since_s(pod))


def _failing_since_s(pod: Pod) -> float:
    """When it became unready; for one that has never been ready, when its container first ended. Of a container that
    restarted again and again only the last end is known: then the time before the first counts, the longer one."""
    ready = find(pod.status.conditions, "Ready")
    times = [ready.last_transition_time if ready is not None else None, pod.metadata.creation_timestamp]
    since_s = next((unix_seconds(time) for time in times if time), 0.0)
    if sum(status.restart_count for status in pod.status.container_statuses) != 1:
        return since_s
    return max([since_s, *_ends_s(pod)])


def _ends_s(pod: Pod) -> list[float]:
    """When containers that were started again had ended."""
    ends = [status.last_state.terminated for status in pod.status.container_statuses if status.restart_count]
    return [unix_seconds(end.finished_at) for end in ends if end is not None and end.finished_at]


def _retire(policy: RecoveryPolicy, census: Census, failed: Iterable[Place], result: Recovered) -> None:
    for place in failed:
        match policy:
            case RecoveryPolicy.GROUP:
                result.leaving |= census.groups[place.group].keys()
            case RecoveryPolicy.ROLE:
                result.leaving.add(place.of)
            case RecoveryPolicy.NONE:
                result.alone.add(place)


def _is_torn(present: Present) -> bool:
    """One of its Pods is going, for whatever reason, and the others cannot go on without it."""
    return any(pod.is_terminating for pod in present.pods.values())


def _goes_whole(present: Present, alone: set[Place]) -> bool:
    """Each of its Pods goes by itself, the last of them now."""
    going = [place for place, pod in present.pods.items() if place in alone or is_leaving(pod)]
    return len(going) == len(present.pods) and not alone.isdisjoint(going)


def _is_forgiven(failures: Failures, now: float) -> bool:
    return now - unix_seconds(failures.at) > FORGIVEN_AFTER_S
