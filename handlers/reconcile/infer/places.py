"""Which Pod stands where in its ModelInfer, and what it is made of. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.container import Container, EnvVar
from matrixinfer.handlers.api.meta import Metadata, owned_by
from matrixinfer.handlers.api.modelinfer import ModelInfer, PodTemplate, Role, pod_name
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podspec import PodSpec


class Instance(NamedTuple):
    """One replica of a role in one group: an entry Pod and its workers, which live and die together."""

    group: int
    role: str
    number: int


class Place(NamedTuple):
    """`number` 0 is the entry Pod. Sorts by ordinal."""

    group: int
    role: str
    instance: int
    number: int

    @property
    def of(self) -> Instance:
        return Instance(self.group, self.role, self.instance)


def places(instance: Instance, role: Role) -> Iterator[Place]:
    for number in range(1 + role.worker_replicas):
        yield Place(instance.group, instance.role, instance.number, number)


def place_of(infer: ModelInfer, pod: Pod) -> Place | None:
    """By the name, which nobody can change; None for a name that we do not give."""
    match = re.fullmatch(rf"{re.escape(infer.metadata.name)}-(\d+)-([a-z][-a-z0-9]*)-(\d+)-(\d+)", pod.metadata.name)
    if match is None:
        return None
    group, role, instance, number = match.groups()
    return Place(int(group), role, int(instance), int(number))


def name_at(infer: ModelInfer, place: Place) -> str:
    return pod_name(infer, place.group, place.role, place.instance, place.number)


def made(infer: ModelInfer, place: Place, role: Role, revision: str, role_revision: str) -> Pod:
    """The Pod at `place`, by the template `role` of that revision. An instance of several Pods has a headless Service
    with the name of its entry: there the entry is found, and each Pod knows its own full name."""
    template: PodTemplate = role.entry_template
    if place.number and role.worker_template is not None:
        template = role.worker_template
    own = {
        labels.MODELINFER: infer.metadata.name,
        labels.GROUP_INDEX: str(place.group),
        labels.ROLE: place.role,
        labels.ROLE_INDEX: str(place.instance),
        labels.ENTRY: "true" if place.number == 0 else "false",
        labels.REVISION: revision,
        labels.ROLE_REVISION: role_revision,
    }
    metadata = Metadata(
        name=name_at(infer, place),
        namespace=infer.metadata.namespace,
        labels=template.metadata.labels | own,
        annotations=template.metadata.annotations,
        owner_references=(owned_by(infer),),
    )
    entry = name_at(infer, place._replace(number=0))
    spec = _told(template.spec, metadata, place, entry, 1 + role.worker_replicas)
    if role.worker_replicas:
        spec = spec.model_copy(update={"hostname": metadata.name, "subdomain": entry})
    return Pod(metadata=metadata, spec=spec)


def _told(spec: PodSpec, pod: Metadata, place: Place, entry: str, size: int) -> PodSpec:
    """Every container is told which Pod it is in: the agent takes its work by that name, and the engines of an instance
    find each other by the rest."""
    own = {
        "MATRIXINFER_AGENT_NAMESPACE": pod.namespace,
        "MATRIXINFER_AGENT_POD": pod.name,
        "GROUP_SIZE": str(size),
        "ENTRY_ADDRESS": f"{entry}.{pod.namespace}",
        "WORKER_INDEX": str(place.number),
    }
    identity = tuple(EnvVar(name=name, value=value) for name, value in own.items())

    def told(containers: tuple[Container, ...]) -> tuple[Container, ...]:
        return tuple(one.model_copy(update={"env": _each_once(identity + one.env)}) for one in containers)

    return spec.model_copy(update={"containers": told(spec.containers), "init_containers": told(spec.init_containers)})


def _each_once(env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
    """The last one of a name counts, in the place of the first. Server-side apply takes no name twice."""
    return tuple({variable.name: variable for variable in env}.values())
