"""The Pods as they are made: what the template says, what the ModelInfer adds, what its plug-ins make of it. Pure."""

from __future__ import annotations

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.modelinfer import Blueprint, ModelInfer, Role
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import GROUP_NAME, TASK
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.api.spread import LabelSelector, TopologySpreadConstraint
from matrixinfer.handlers.errors import BadPodPlugin
from matrixinfer.handlers.reconcile.infer.places import Instance, Place, made, places
from matrixinfer.handlers.reconcile.infer.podgroups import group_name
from matrixinfer.handlers.reconcile.infer.templates import Templates
from matrixinfer.handlers.reconcile.podplugins.chain import Link, chain, changed
from matrixinfer.handlers.reconcile.podplugins.port import PodContext, Table


class Maker:
    """`by_volcano`: the groups have PodGroups."""

    def __init__(self, infer: ModelInfer, templates: Templates, table: Table, *, by_volcano: bool) -> None:
        self._infer = infer
        self._templates = templates
        self._table = table
        self._by_volcano = by_volcano
        self._chains: dict[str, list[Link]] = {}
        self._troubles: dict[str, str] = {}

    def trouble(self, revision: str) -> str:
        """Why nothing can be made from it; empty when it can. A Pod of each kind is tried."""
        if not self._templates.blueprint(revision).plugins:
            return ""
        if revision not in self._troubles:
            self._troubles[revision] = self._tried(revision)
        return self._troubles[revision]

    def _tried(self, revision: str) -> str:
        try:
            for role in self._templates.roles(revision).values():
                for place in [*places(Instance(0, role.name, 0), role)][:2]:
                    self.pod(place, revision)
        except BadPodPlugin as error:
            return str(error)
        return ""

    def pod(self, place: Place, revision: str) -> Pod:
        """Raises BadPodPlugin."""
        blueprint, role = self._templates.blueprint(revision), self._templates.roles(revision)[place.role]
        role_revision = self._templates.role_revision(revision, place.role)
        pod = self._placed(made(self._infer, place, role, revision, role_revision), place, blueprint)
        return changed(pod, self._chain(revision, blueprint), self._context(place, role, revision))

    def _placed(self, pod: Pod, place: Place, blueprint: Blueprint) -> Pod:
        annotations = pod.metadata.annotations
        if self._by_volcano:
            task = f"{place.role}-{place.instance}"
            annotations = annotations | {GROUP_NAME: group_name(self._infer, place.group), TASK: task}
        return pod.model_copy(
            update={
                "metadata": pod.metadata.model_copy(update={"annotations": annotations}),
                "spec": self._scheduled(pod.spec, blueprint),
            }
        )

    def _scheduled(self, spec: PodSpec, blueprint: Blueprint) -> PodSpec:
        if not (blueprint.scheduler_name or blueprint.topology_spread_constraints):
            return spec
        said = {(one.topology_key, one.when_unsatisfiable) for one in spec.topology_spread_constraints}
        more = tuple(
            self._counting(one)
            for one in blueprint.topology_spread_constraints
            if (one.topology_key, one.when_unsatisfiable) not in said
        )
        return spec.model_copy(
            update={
                "scheduler_name": blueprint.scheduler_name or spec.scheduler_name,
                "topology_spread_constraints": spec.topology_spread_constraints + more,
            }
        )

    def _counting(self, constraint: TopologySpreadConstraint) -> TopologySpreadConstraint:
        if constraint.label_selector is not None:
            return constraint
        own = LabelSelector(match_labels={labels.MODELINFER: self._infer.metadata.name})
        return constraint.model_copy(update={"label_selector": own})

    def _chain(self, revision: str, blueprint: Blueprint) -> list[Link]:
        if revision not in self._chains:
            self._chains[revision] = chain(blueprint.plugins, self._table)
        return self._chains[revision]

    def _context(self, place: Place, role: Role, revision: str) -> PodContext:
        return PodContext(self._infer, revision, *place, 1 + role.worker_replicas)
