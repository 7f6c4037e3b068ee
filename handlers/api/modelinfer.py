"""ModelInfer: a number of equal groups of pods; each group has roles, each role has replicas of entry and workers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.durations import Duration
from matrixinfer.handlers.api.gang import GangPolicy, NetworkTopologies
from matrixinfer.handlers.api.meta import Condition, Labels, Part, Resource, Whole
from matrixinfer.handlers.api.patterns import ROLE_NAME
from matrixinfer.handlers.api.podplugins import PodPlugin
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.api.rollout import Recovery, RolloutStrategy, resolved
from matrixinfer.handlers.api.rules import Rule
from matrixinfer.handlers.api.spread import TopologySpreadConstraint

LONGEST_POD_NAME = 63
MOST_PODS = 2000
"""Of one object. Whoever reconciles it looks at all its pods in one go, on the loop that dispatches requests too."""

RoleName = Annotated[str, Field(min_length=1, max_length=12, pattern=ROLE_NAME)]


class RecoveryPolicy(StrEnum):
    """What is made anew when a pod failed: its whole group, its role instance, or it alone."""

    GROUP = "InferGroupRecreate"
    ROLE = "RoleRecreate"
    NONE = "None"


class PodTemplateMetadata(Part):
    labels: Labels = Field(default={})
    annotations: dict[str, str] = Field(default={})


class PodTemplate(Part):
    metadata: PodTemplateMetadata = PodTemplateMetadata()
    spec: PodSpec


class Role(Part):
    RULES = (Rule("self.workerReplicas == 0 || has(self.workerTemplate)", "workerReplicas needs a workerTemplate"),)

    name: RoleName
    replicas: Annotated[Whole, Field(ge=0)] = 1
    """Instances of this role in each group."""

    entry_template: PodTemplate
    """The pod of an instance that takes requests."""

    worker_replicas: Annotated[Whole, Field(ge=0)] = 0
    """Further pods of each instance, made from `workerTemplate`."""

    worker_template: PodTemplate | None = None

    @model_validator(mode="after")
    def _workers_have_a_template(self) -> Self:
        if self.worker_replicas and self.worker_template is None:
            raise ValueError(f"workerTemplate is missing: workerReplicas is {self.worker_replicas}")
        return self

    @property
    def pods(self) -> int:
        """Of each group."""
        return self.replicas * (1 + self.worker_replicas)


class InferGroupTemplate(Part):
    RULES = (
        Rule("self.roles.all(a, self.roles.exists_one(b, b.name == a.name))", "roles must have different names"),
        Rule(
            "!has(self.gangPolicy) || !has(self.gangPolicy.minRoleReplicas) || self.gangPolicy.minRoleReplicas.all(n,"
            " self.roles.exists(r, r.name == n && self.gangPolicy.minRoleReplicas[n] <= r.replicas))",
            "gangPolicy.minRoleReplicas must name roles, each with at most its replicas",
        ),
    )

    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=16)]

    gang_policy: GangPolicy | None = None
    """What a group needs before it serves. A change of it replaces nothing."""

    network_topology: NetworkTopologies | None = None
    """How near to each other its pods must be."""

    restart_grace_period_seconds: Annotated[Whole, Field(ge=0)] = 0
    """So long a pod whose container restarted may take to become ready again, before what belongs together is made
    anew by `recoveryPolicy`. For instances of several pods; one that is alone recovers by itself in any case. A change
    of it replaces nothing."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [role.name for role in self.roles]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"roles must have different names, met {name!r} {names.count(name)} times")
        return self

    @model_validator(mode="after")
    def _gang_is_of_roles(self) -> Self:
        most = {role.name: role.replicas for role in self.roles}
        for name, least in (self.gang_policy.min_role_replicas if self.gang_policy else {}).items():
            if least > most.get(name, -1):
                known = ", ".join(f"{role}: {replicas}" for role, replicas in most.items())
                raise ValueError(
                    f"gangPolicy.minRoleReplicas must name roles, each with at most its replicas ({known}), "
                    f"got {name}: {least}"
                )
        return self


class Blueprint(Part):
    """All that pods are made from: a change of it is rolled out, and a ControllerRevision keeps it."""

    RULES = (
        Rule(
            "!has(self.plugins) || self.plugins.all(p, !has(p.scope) || !has(p.scope.roles)"
            " || p.scope.roles.all(n, self.template.roles.exists(r, r.name == n)))",
            "scope.roles of a plugin must name roles of the template",
        ),
        Rule(
            "!has(self.topologySpreadConstraints) || self.topologySpreadConstraints.all(a,"
            " self.topologySpreadConstraints.exists_one(b,"
            " b.topologyKey == a.topologyKey && b.whenUnsatisfiable == a.whenUnsatisfiable))",
            "topologySpreadConstraints must differ in topologyKey or whenUnsatisfiable",
        ),
    )

    template: InferGroupTemplate

    scheduler_name: Annotated[str, Field(max_length=253)] = ""
    """Who schedules the pods; empty: as their templates say, or the cluster's own. With `volcano` each group has a
    PodGroup where the cluster knows that kind."""

    plugins: Annotated[tuple[PodPlugin, ...], Field(max_length=16)] = ()
    """Each changes the pods as they are made, one after the other."""

    topology_spread_constraints: Annotated[tuple[TopologySpreadConstraint, ...], Field(max_length=8)] = ()
    """For every pod; what its template says of the same `topologyKey` and `whenUnsatisfiable` comes before it."""

    @model_validator(mode="after")
    def _scopes_are_of_roles(self) -> Self:
        known = {role.name for role in self.template.roles}
        for plugin in self.plugins:
            for name in plugin.scope.roles:
                if name not in known:
                    raise ValueError(
                        f"scope.roles of a plugin must name roles of the template ({', '.join(sorted(known))}), "
                        f"plugin {plugin.name} names {name!r}"
                    )
        return self

    @model_validator(mode="after")
    def _constraints_differ(self) -> Self:
        met = [(one.topology_key, one.when_unsatisfiable) for one in self.topology_spread_constraints]
        if len(set(met)) < len(met):
            raise ValueError("topologySpreadConstraints must differ in topologyKey or whenUnsatisfiable")
        return self


class ModelInferSpec(Blueprint):
    replicas: Annotated[Whole, Field(ge=0)] = 1
    """Number of groups."""

    rollout_strategy: RolloutStrategy = RolloutStrategy()
    recovery_policy: RecoveryPolicy = RecoveryPolicy.ROLE
    recovery: Recovery = Recovery()

    drain_timeout: Duration = "5m"
    """How long pods that shall go may finish what they run; they get nothing new meanwhile. Then they are deleted, and
    have their own grace period still."""

    revision_history_limit: Annotated[Whole, Field(ge=0, le=100)] = 10
    """Former templates that are kept to go back to, besides those that pods are made from."""

    @property
    def pods(self) -> int:
        """Of all groups."""
        return self.replicas * sum(role.pods for role in self.template.roles)

    @model_validator(mode="after")
    def _few_enough_pods(self) -> Self:
        """A group counts even when it is empty, and so does an instance: each is looked at."""
        roles = self.template.roles
        if self.replicas * max(1, sum(role.pods for role in roles)) > MOST_PODS:
            group = " + ".join(f"{role.name}: {role.replicas} x (1 + {role.worker_replicas})" for role in roles)
            raise ValueError(
                f"replicas {self.replicas} x ({group}; replicas x (1 + workerReplicas) of each role) "
                f"makes {self.pods} pods; expected at most {MOST_PODS} pods, and as many groups, for one ModelInfer"
            )
        return self


class RoleStatus(Part):
    """Of all groups together, those that leave left out."""

    name: str
    replicas: int = 0
    ready_replicas: int = 0


class Failures(Part):
    """What failed, by the beginning of its pods' names, and how often in a row; `at` is the last time."""

    unit: str
    count: int
    at: str


class ModelInferStatus(Part):
    """All counts are groups, those that leave left out."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    """Made from the current template."""
    current_replicas: int = 0
    """Made from `currentRevision`."""
    available_replicas: int = 0
    current_revision: str = ""
    """The last one that was rolled out whole."""
    update_revision: str = ""
    """Of the current template."""
    label_selector: str = ""
    """Chooses one pod of each group, for autoscalers that count by it."""
    roles: tuple[RoleStatus, ...] = ()
    failures: tuple[Failures, ...] = ()
    conditions: tuple[Condition, ...] = ()
    """`Available`: every group is ready. `Progressing`: pods are being made, replaced or removed. `UpdateInProgress`:
    groups of a former template are still there. `Degraded`: something failed so often that it is not made anew."""


class ModelInfer(Resource):
    """A number of equal groups of pods; each group has roles, each role has replicas of entry and workers."""

    RULES = (
        Rule("!self.metadata.name.contains('.')", "metadata.name must not contain '.': it becomes part of pods' names"),
        Rule(
            "self.spec.template.roles.all(r, size(self.metadata.name) + size(r.name) + 4"
            " + size(string(r.workerReplicas))"
            " + size(string(self.spec.replicas > 0 ? self.spec.replicas - 1 : 0))"
            f" + size(string(r.replicas > 0 ? r.replicas - 1 : 0)) <= {LONGEST_POD_NAME})",
            f"pods would have names of more than {LONGEST_POD_NAME} characters: choose shorter ones for the ModelInfer "
            "and its roles",
        ),
        Rule(
            "self.spec.template.roles.all(r, r.workerReplicas == 0) || self.metadata.name.matches('^[a-z]')",
            "metadata.name must begin with a letter where a role has workers: their Services are named after it",
        ),
    )

    kind: Literal["ModelInfer"] = "ModelInfer"
    spec: ModelInferSpec
    status: ModelInferStatus = ModelInferStatus()

    @model_validator(mode="after")
    def _pods_have_legal_names(self) -> Self:
        """Those of a surge too: it takes the numbers after the last."""
        for role in self.spec.template.roles:
            groups, instances = self.spec.replicas, role.replicas
            if self.spec.rollout_strategy.by_role:
                instances += resolved(self.spec.rollout_strategy.rolling_update_configuration.max_surge, instances)
            else:
                groups += resolved(self.spec.rollout_strategy.rolling_update_configuration.max_surge, groups)
            last = pod_name(self, max(0, groups - 1), role.name, max(0, instances - 1), role.worker_replicas)
            if len(last) > LONGEST_POD_NAME or "." in last:
                raise ValueError(
                    f"a pod would be named {last!r} of {len(last)} characters; expected at most {LONGEST_POD_NAME} "
                    "without '.': choose shorter names for the ModelInfer and its roles"
                )
        return self

    @model_validator(mode="after")
    def _services_have_legal_names(self) -> Self:
        """Kubernetes wants a letter first, of a Service only."""
        has_workers = any(role.worker_replicas for role in self.spec.template.roles)
        if has_workers and not self.metadata.name[0].isalpha():
            raise ValueError(
                "metadata.name must begin with a letter where a role has workers: their Services are named after it"
            )
        return self


def pod_name(infer: ModelInfer, group: int, role: str, instance: int, number: int) -> str:
    """`number` 0 is the entry pod, workers follow."""
    return f"{infer.metadata.name}-{group}-{role}-{instance}-{number}"
