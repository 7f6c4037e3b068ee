"""What `describe` says of an object: what it is, what is true of it, what belongs to it, what happened. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from matrixinfer.cli.tables import age, condition_text, pod_state

Manifest = Mapping[str, Any]
CHILDREN = ("ModelInfer", "ModelServer", "ModelRoute", "AutoScalingPolicyBinding", "PodGroup", "Pod", "Service")
"""Kinds that others own; records of former templates are `rollout history`'s. A cluster need not have PodGroups."""


def described(manifest: Manifest, family: Iterable[Manifest], events: Iterable[Manifest], now: float) -> str:
    """`family`: objects among which are those that belong to it, at any depth; `events`: of the namespace."""
    members = list(family)
    uids = {manifest["metadata"].get("uid"), *(one["metadata"].get("uid") for _, one in _tree(manifest, members, 0))}
    sections = [
        list(_head(manifest, now)),
        ["Spec:", *_indented(manifest.get("spec", {}))],
        _titled("Conditions:", _conditions(manifest, now)),
        *_scaled(manifest, now),
        _titled("Belongs to it:", [_line(depth, one, now) for depth, one in _tree(manifest, members, 1)]),
        _titled("Events:", _events(events, uids, now)),
    ]
    return "\n".join(line for section in sections for line in section)


def _head(manifest: Manifest, now: float) -> Iterator[str]:
    metadata = manifest["metadata"]
    yield f"{manifest['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
    yield f"  uid {metadata.get('uid', '')}, generation {metadata.get('generation', 0)}, {age(manifest, now)} old"
    if metadata.get("deletionTimestamp"):
        yield f"  is being deleted since {metadata['deletionTimestamp']}"
    for owner in metadata.get("ownerReferences", ()):
        yield f"  belongs to {owner['kind']} {owner['name']}"
    for title in ("labels", "annotations"):
        for name, value in sorted(metadata.get(title, {}).items()):
            yield f"  {title[:-1]} {name}={value}"


def _titled(title: str, lines: list[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)] if lines else [f"{title} none"]


def _conditions(manifest: Manifest, now: float) -> list[str]:
    conditions = manifest.get("status", {}).get("conditions", [])
    lines = []
    for one in conditions:
        since = {"metadata": {"creationTimestamp": one.get("lastTransitionTime")}}
        lines.append(f"{one['type']}={one['status']} for {age(since, now) or '?'}  {condition_text(one)}".rstrip())
    return lines


def belonging(manifest: Manifest, family: Iterable[Manifest]) -> list[Manifest]:
    """What it owns among these, at any depth."""
    return [one for _, one in _tree(manifest, list(family), 1)]


def _scaled(manifest: Manifest, now: float) -> Iterator[list[str]]:
    """Of a binding: what it scales, and what is wanted of it."""
    if manifest["kind"] == "AutoScalingPolicyBinding":
        targets = manifest.get("status", {}).get("targets", [])
        yield _titled("Targets:", [_target(one, now) for one in targets])


def _target(target: Manifest, now: float) -> str:
    name = "/".join(filter(None, (target["name"], target.get("role", ""))))
    wanted, since = target.get("desiredReplicas"), target.get("lastScaleTime")
    return ", ".join(
        [
            f"{name}  {target['currentReplicas']} replicas",
            *([f"{wanted} wanted"] if wanted is not None else []),
            *([f"scaled {age({'metadata': {'creationTimestamp': since}}, now)} ago"] if since else []),
            *(["in panic"] if target.get("mode") == "Panic" else []),
        ]
    )


def _tree(parent: Manifest, members: list[Manifest], depth: int) -> Iterator[tuple[int, Manifest]]:
    """Depth first, in the order of kinds and names. Owners' uids lead: a circle cannot be made of them."""
    uid = parent["metadata"].get("uid")
    own = [one for one in members if any(o["uid"] == uid for o in one["metadata"].get("ownerReferences", ()))]
    for one in sorted(own, key=lambda one: (CHILDREN.index(one["kind"]), one["metadata"]["name"])):
        yield depth, one
        yield from _tree(one, members, depth + 1)


def _line(depth: int, one: Manifest, now: float) -> str:
    state = pod_state(one) if one["kind"] == "Pod" else _state(one)
    return f"{'  ' * (depth - 1)}{one['kind']} {one['metadata']['name']}  {state}  {age(one, now)}"


def _state(one: Manifest) -> str:
    if one["kind"] == "Service":
        return "the name of its entry pod"
    if one["kind"] == "PodGroup":
        least = one.get("spec", {}).get("minMember", 0)
        return f"{one.get('status', {}).get('phase', 'not scheduled yet')}, {least} pods together or none"
    conditions = one.get("status", {}).get("conditions", [])
    return ", ".join(f"{each['type']}={each['status']}" for each in conditions) or "not looked at yet"


def _events(events: Iterable[Manifest], uids: set[str], now: float) -> list[str]:
    """Of the object and of what belongs to it, the latest last."""
    about = [event for event in events if event.get("involvedObject", {}).get("uid") in uids]
    lines = []
    for event in sorted(about, key=lambda event: str(event.get("lastTimestamp"))):
        when = age({"metadata": {"creationTimestamp": event.get("lastTimestamp")}}, now)
        times = f" ({event['count']} times)" if event.get("count", 1) > 1 else ""
        mark = "! " if event.get("type") == "Warning" else ""
        target = event["involvedObject"]
        lines.append(
            f"{mark}{when} ago{times}  {target['kind']} {target['name']}: {event['reason']}  {event['message']}"
        )
    return lines


def _indented(value: object) -> list[str]:
    import yaml

    return [f"  {line}" for line in yaml.safe_dump(value, sort_keys=False, width=110).splitlines()]
