"""What Volcano is told of a group: how many of its Pods it needs at once, what they need, and how near they must be.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.container import Container
from matrixinfer.handlers.api.gang import NetworkTopology
from matrixinfer.handlers.api.meta import Metadata, owned_by
from matrixinfer.handlers.api.modelinfer import ModelInfer, Role
from matrixinfer.handlers.api.podgroup import QUEUE, SCHEDULER, PodGroup, PodGroupSpec, SubGroup
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.api.quantities import largest, total
from matrixinfer.handlers.api.spread import LabelSelector
from matrixinfer.handlers.reconcile.infer.gang import least
from matrixinfer.handlers.reconcile.infer.templates import hashed
from matrixinfer.handlers.reconcile.plan import has_all

Roles = Mapping[str, Role]


def is_by_volcano(infer: ModelInfer, *, served: bool) -> bool:
    """`served`: the cluster knows PodGroups."""
    return served and infer.spec.scheduler_name == SCHEDULER


def group_name(infer: ModelInfer, group: int) -> str:
    return f"{infer.metadata.name}-{group}"


def is_due(wanted: PodGroup, present: PodGroup) -> bool:
    """Volcano fills in what is not said, such as a queue: that is left as it is."""
    return not has_all(present.to_json(), wanted.to_json())


def pod_group(infer: ModelInfer, group: int, roles: Roles) -> PodGroup:
    """`roles`: those of the template that the group lives by."""
    topology = infer.spec.template.network_topology
    spec = PodGroupSpec(
        min_member=sum(_pods(role) * least(infer, role) for role in roles.values()),
        min_resources=_resources(infer, roles.values()),
        queue=infer.metadata.annotations.get(QUEUE, ""),
        network_topology=topology.group_policy if topology is not None else None,
        sub_group_policy=_sub_groups(infer, roles.values(), topology.role_policy if topology is not None else None),
    )
    return PodGroup(
        metadata=Metadata(
            name=group_name(infer, group),
            namespace=infer.metadata.namespace,
            labels={labels.MODELINFER: infer.metadata.name, labels.GROUP_INDEX: str(group)},
            annotations={labels.SAID: hashed(spec.model_dump(mode="json", exclude_defaults=True))},
            owner_references=(owned_by(infer),),
        ),
        spec=spec,
    )


def _pods(role: Role) -> int:
    return 1 + role.worker_replicas


def _resources(infer: ModelInfer, roles: Iterable[Role]) -> dict[str, str]:
    """What the minimum asks for; a container that only has a limit asks for as much."""
    amounts: dict[str, list[str]] = {}
    for role in roles:
        for spec, count in _specs(role):
            for name, quantity in _requests(spec):
                amounts.setdefault(name, []).extend([quantity] * (count * least(infer, role)))
    return {name: total(found) for name, found in sorted(amounts.items()) if found}


def _specs(role: Role) -> Iterator[tuple[PodSpec, int]]:
    yield role.entry_template.spec, 1
    if role.worker_template is not None:
        yield role.worker_template.spec, role.worker_replicas


def _requests(spec: PodSpec) -> Iterator[tuple[str, str]]:
    """As Kubernetes' scheduler reckons: what runs beside each other counts together, an init container only where it
    asks for more than all of them."""
    beside = [*spec.containers, *(one for one in spec.init_containers if one.restart_policy == "Always")]
    before = [one for one in spec.init_containers if one.restart_policy != "Always"]
    for name in dict.fromkeys(name for one in (*beside, *before) for name in _asked(one)):
        together = total(_asked(one)[name] for one in beside if name in _asked(one))
        yield name, largest([together, *(_asked(one)[name] for one in before if name in _asked(one))])


def _asked(container: Container) -> dict[str, str]:
    return container.resources.limits | container.resources.requests


def _sub_groups(infer: ModelInfer, roles: Iterable[Role], topology: NetworkTopology | None) -> tuple[SubGroup, ...]:
    """Only where the number of Pods alone does not say it: a Volcano that does not know the field refuses it."""
    known = list(roles)
    if topology is None and all(least(infer, role) == role.replicas for role in known):
        return ()
    return tuple(
        SubGroup(
            name=role.name,
            label_selector=LabelSelector(match_labels={labels.MODELINFER: infer.metadata.name, labels.ROLE: role.name}),
            match_label_keys=(labels.ROLE_INDEX,),
            sub_group_size=_pods(role),
            min_sub_groups=least(infer, role),
            network_topology=topology,
        )
        for role in known
    )
