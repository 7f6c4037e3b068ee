"""Which Pods a ModelInfer stands for, and what they are made of. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.meta import Metadata, owned_by
from matrixinfer.handlers.api.modelinfer import ModelInfer, PodTemplate, pod_name
from matrixinfer.handlers.api.pod import Container, EnvVar, Pod, PodSpec


class Place(NamedTuple):
    """Where a Pod stands in its ModelInfer. Sorts by ordinal: the last one is the first to go."""

    group: int
    role: str
    instance: int
    number: int


@dataclass(frozen=True)
class Slot:
    """A Pod that shall be there; it is made only where it is missing."""

    place: Place
    name: str
    template: PodTemplate
    revision: str


def wanted_slots(infer: ModelInfer) -> dict[Place, Slot]:
    slots: dict[Place, Slot] = {}
    for role in infer.spec.template.roles:
        templates = [role.entry_template, role.worker_template or role.entry_template]
        revisions = [revision_of(template) for template in templates]
        for group in range(infer.spec.replicas):
            for instance in range(role.replicas):
                for number in range(1 + role.worker_replicas):
                    place, which = Place(group, role.name, instance, number), min(number, 1)
                    name = pod_name(infer, group, role, instance, number)
                    slots[place] = Slot(place, name, templates[which], revisions[which])
    return slots


def place_of(infer: ModelInfer, pod: Pod) -> Place | None:
    """By the name, which nobody can change; None for a name that we do not give."""
    match = re.fullmatch(rf"{re.escape(infer.metadata.name)}-(\d+)-([a-z][-a-z0-9]*)-(\d+)-(\d+)", pod.metadata.name)
    if match is None:
        return None
    group, role, instance, number = match.groups()
    return Place(int(group), role, int(instance), int(number))


def revision_of(template: PodTemplate) -> str:
    """Names the template's content. Defaults do not count: a field that is new in a later version replaces no Pod."""
    text = json.dumps(template.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def made(infer: ModelInfer, slot: Slot) -> Pod:
    own = {
        labels.MODELINFER: infer.metadata.name,
        labels.GROUP_INDEX: str(slot.place.group),
        labels.ROLE: slot.place.role,
        labels.ROLE_INDEX: str(slot.place.instance),
        labels.ENTRY: "true" if slot.place.number == 0 else "false",
        labels.REVISION: slot.revision,
    }
    metadata = Metadata(
        name=slot.name,
        namespace=infer.metadata.namespace,
        labels=slot.template.metadata.labels | own,
        annotations=slot.template.metadata.annotations,
        owner_references=(owned_by(infer),),
    )
    return Pod(metadata=metadata, spec=_with_identity(slot.template.spec, metadata))


def _with_identity(spec: PodSpec, pod: Metadata) -> PodSpec:
    """Every container is told which Pod it is in: the agent takes its work by that name."""
    identity = (
        EnvVar(name="MATRIXINFER_AGENT_NAMESPACE", value=pod.namespace),
        EnvVar(name="MATRIXINFER_AGENT_POD", value=pod.name),
    )

    def told(container: Container) -> Container:
        return container.model_copy(update={"env": identity + container.env})

    return spec.model_copy(update={"containers": tuple(told(container) for container in spec.containers)})
