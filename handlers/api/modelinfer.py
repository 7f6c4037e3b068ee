"""ModelInfer: a number of equal groups of pods; each group has roles, each role has replicas of entry and workers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.meta import Condition, Labels, Part, Resource, Whole
from matrixinfer.handlers.api.patterns import ROLE_NAME
from matrixinfer.handlers.api.pod import PodSpec

LONGEST_POD_NAME = 63
MOST_PODS = 2000
"""Of one object. Whoever reconciles it looks at all its pods in one go, on the loop that dispatches requests too."""

RoleName = Annotated[str, Field(min_length=1, max_length=12, pattern=ROLE_NAME)]


class RecoveryPolicy(StrEnum):
    """What is made anew when a pod failed for good: its whole group, its role instance, or it alone."""

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
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [role.name for role in self.roles]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"roles must have different names, met {name!r} {names.count(name)} times")
        return self


class ModelInferSpec(Part):
    replicas: Annotated[Whole, Field(ge=0)] = 1
    """Number of groups."""

    template: InferGroupTemplate
    recovery_policy: RecoveryPolicy = RecoveryPolicy.ROLE

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


class ModelInferStatus(Part):
    """All counts are groups."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    update_revision: str = ""
    label_selector: str = ""
    conditions: tuple[Condition, ...] = ()
    """`Available`: every group is ready. `Progressing`: pods are being made, replaced or removed."""


class ModelInfer(Resource):
    kind: Literal["ModelInfer"] = "ModelInfer"
    spec: ModelInferSpec
    status: ModelInferStatus = ModelInferStatus()

    @model_validator(mode="after")
    def _pods_have_legal_names(self) -> Self:
        for role in self.spec.template.roles:
            last = pod_name(self, max(0, self.spec.replicas - 1), role, max(0, role.replicas - 1), role.worker_replicas)
            if len(last) > LONGEST_POD_NAME or "." in last:
                raise ValueError(
                    f"a pod would be named {last!r} of {len(last)} characters; expected at most {LONGEST_POD_NAME} "
                    "without '.': choose shorter names for the ModelInfer and its roles"
                )
        return self


def pod_name(infer: ModelInfer, group: int, role: Role, instance: int, number: int) -> str:
    """`number` 0 is the entry pod, workers follow."""
    return f"{infer.metadata.name}-{group}-{role.name}-{instance}-{number}"
