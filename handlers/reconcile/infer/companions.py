"""What stands beside the Pods: a name for each instance that has workers, and a PodGroup for each group. Pure.

Both are made before the Pods that need them, and go when none of those is there or wanted any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.meta import Metadata, Resource, owned_by
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.podgroup import GROUP_NAME, PodGroup
from matrixinfer.handlers.api.service import HEADLESS, Service, ServiceSpec
from matrixinfer.handlers.reconcile.infer.census import Census
from matrixinfer.handlers.reconcile.infer.places import Instance, Place, name_at
from matrixinfer.handlers.reconcile.infer.podgroups import group_name, is_due, pod_group
from matrixinfer.handlers.reconcile.infer.templates import Templates
from matrixinfer.handlers.reconcile.infer.turnover import Turnover
from matrixinfer.handlers.reconcile.plan import differs
from matrixinfer.handlers.reconcile.podplugins.port import Table
from matrixinfer.handlers.reconcile.podplugins.registry import BUILT_IN


class Around(NamedTuple):
    """What a ModelInfer is reconciled with, beside its Pods and records: every Service and PodGroup with its label, and
    those that have a name which it may want; whether the cluster knows PodGroups; the plug-ins that there are."""

    services: tuple[Service, ...] = ()
    pod_groups: tuple[PodGroup, ...] = ()
    serves_pod_groups: bool = False
    plugins: Table = BUILT_IN


ALONE = Around()


@dataclass
class Companions:
    applies: list[Resource] = field(default_factory=list)
    deletes: list[Resource] = field(default_factory=list)


def service_name(infer: ModelInfer, instance: Instance) -> str:
    """That of its entry Pod."""
    return name_at(infer, Place(*instance, 0))


class Beside:
    """One look at what stands beside the Pods. `foreign` are names that somebody else's have."""

    def __init__(self, infer: ModelInfer, templates: Templates, around: Around, *, by_volcano: bool) -> None:
        self._infer = infer
        self._templates = templates
        self._by_volcano = by_volcano
        self._services = {one.metadata.name: one for one in around.services if one.is_owned_by(infer)}
        self._groups = {one.metadata.name: one for one in around.pod_groups if one.is_owned_by(infer)}
        has_workers = templates.any_role(lambda role: role.worker_replicas > 0)
        self._has_any = by_volcano or has_workers or bool(self._services or self._groups)
        self._foreign_services = {one.metadata.name for one in around.services} - self._services.keys()
        self._foreign_groups = {one.metadata.name for one in around.pod_groups} - self._groups.keys()

    def taken_name(self, place: Place, revision: str) -> str:
        """The name of somebody else's object because of which no Pod can be made there; empty when there is none."""
        service, group = service_name(self._infer, place.of), group_name(self._infer, place.group)
        if service in self._foreign_services and self._templates.roles(revision)[place.role].worker_replicas:
            return service
        return group if self._by_volcano and group in self._foreign_groups else ""

    def companions(self, census: Census, turnover: Turnover, made: Iterable[Place]) -> Companions:
        """`made`: places whose Pods the plan makes."""
        if not self._has_any:
            return Companions()
        now = {place.of for place in made} | {present.instance for present in census.instances()}
        wanted = {place.of: revision for place, revision in turnover.wanted.items() if place.of in now}
        result = Companions()
        for service in self._wanted_services(wanted):
            there = self._services.get(service.metadata.name)
            if there is None or (not there.is_terminating and differs(service, there)):
                result.applies.append(service)
        for group in self._wanted_groups(wanted):
            present = self._groups.get(group.metadata.name)
            if present is None or (not present.is_terminating and is_due(group, present)):
                result.applies.append(group)
        result.deletes = [*self._idle_services(census, turnover), *self._idle_groups(census, turnover)]
        return result

    def _wanted_services(self, wanted: dict[Instance, str]) -> Iterator[Service]:
        for instance, revision in wanted.items():
            role = self._templates.roles(revision).get(instance.role)
            name = service_name(self._infer, instance)
            if role is not None and role.worker_replicas and name not in self._foreign_services:
                yield _service(self._infer, instance, name)

    def _wanted_groups(self, wanted: dict[Instance, str]) -> Iterator[PodGroup]:
        """While a group goes over to another template instance by instance, the new one counts."""
        if not self._by_volcano:
            return
        revisions: dict[int, set[str]] = {}
        for instance, revision in wanted.items():
            revisions.setdefault(instance.group, set()).add(revision)
        for number, known in sorted(revisions.items()):
            name = group_name(self._infer, number)
            if name not in self._foreign_groups:
                revision = self._templates.update if self._templates.update in known else min(known)
                yield pod_group(self._infer, number, self._templates.roles(revision))

    def _idle_services(self, census: Census, turnover: Turnover) -> Iterator[Service]:
        """Pods that were made below a Service keep it, whatever the template says now."""
        needed = {pod.spec.subdomain for present in census.instances() for pod in present.pods.values()}
        needed |= {
            service_name(self._infer, place.of)
            for place, revision in turnover.wanted.items()
            if self._templates.roles(revision)[place.role].worker_replicas
        }
        yield from (one for name, one in self._services.items() if name not in needed and not one.is_terminating)

    def _idle_groups(self, census: Census, turnover: Turnover) -> Iterator[PodGroup]:
        """Pods that were made with a PodGroup keep it, whoever schedules now."""
        needed = {
            pod.metadata.annotations.get(GROUP_NAME, "")
            for present in census.instances()
            for pod in present.pods.values()
        }
        if self._by_volcano:
            needed |= {group_name(self._infer, place.group) for place in turnover.wanted}
        yield from (one for name, one in self._groups.items() if name not in needed and not one.is_terminating)


def _service(infer: ModelInfer, instance: Instance, name: str) -> Service:
    selector = {
        labels.MODELINFER: infer.metadata.name,
        labels.GROUP_INDEX: str(instance.group),
        labels.ROLE: instance.role,
        labels.ROLE_INDEX: str(instance.number),
    }
    return Service(
        metadata=Metadata(
            name=name, namespace=infer.metadata.namespace, labels=selector, owner_references=(owned_by(infer),)
        ),
        spec=ServiceSpec(
            cluster_ip=HEADLESS, publish_not_ready_addresses=True, selector=selector | {labels.ENTRY: "true"}
        ),
    )
