"""The templates of a ModelInfer: the present one and the former ones, each under the name of its content. Pure.

How many replicas a role has is no part of a revision: scaling replaces nothing, and counts for old groups too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.meta import Metadata, owned_by
from matrixinfer.handlers.api.modelinfer import InferGroupTemplate, ModelInfer, Role

TEMPLATE = "template"
"""Where a ControllerRevision's data has it."""


def revision_of(template: InferGroupTemplate) -> str:
    """Names the content. Defaults do not count: a field that is new in a later version replaces no Pod."""
    body = template.model_dump(mode="json", exclude_defaults=True)
    for role in body["roles"]:
        role.pop("replicas", None)
    return _hashed(body)


def role_revision_of(role: Role) -> str:
    body = role.model_dump(mode="json", exclude_defaults=True)
    body.pop("replicas", None)
    return _hashed(body)


class Templates:
    """All that Pods of `infer` may be made from."""

    def __init__(self, infer: ModelInfer, kept: Iterable[ControllerRevision]) -> None:
        self._infer = infer
        self.kept = sorted(
            (one for one in kept if one.is_owned_by(infer) and not one.is_terminating), key=lambda one: one.revision
        )
        self.update = revision_of(infer.spec.template)
        self._roles: dict[str, dict[str, Role]] = {self.update: {role.name: role for role in infer.spec.template.roles}}
        for one in self.kept:
            roles = self._former_roles(one)
            if roles is not None:
                self._roles.setdefault(revision_named(infer, one), roles)
        self._hashes: dict[tuple[str, str], str] = {}

    def knows(self, revision: str) -> bool:
        return revision in self._roles

    def roles(self, revision: str) -> Mapping[str, Role]:
        """By name, with as many replicas as are wanted now."""
        return self._roles[revision]

    def role_revision(self, revision: str, role: str) -> str:
        key = (revision, role)
        if key not in self._hashes:
            self._hashes[key] = role_revision_of(self._roles[revision][role])
        return self._hashes[key]

    def to_keep(self) -> ControllerRevision | None:
        """The record of the present template, where it is missing or not the last one."""
        last = self.kept[-1].revision if self.kept else 0
        same = next((one for one in self.kept if revision_named(self._infer, one) == self.update), None)
        if same is not None:
            return None if same.revision == last else same.model_copy(update={"revision": last + 1})
        infer = self._infer
        data = {TEMPLATE: infer.spec.template.model_dump(mode="json", exclude_defaults=True)}
        metadata = Metadata(
            name=f"{infer.metadata.name}-{self.update}",
            namespace=infer.metadata.namespace,
            labels={labels.MODELINFER: infer.metadata.name, labels.REVISION: self.update},
            owner_references=(owned_by(infer),),
        )
        return ControllerRevision(metadata=metadata, revision=last + 1, data=data)

    def to_forget(self, used: set[str]) -> list[ControllerRevision]:
        """Those above the limit, the oldest first; never one that Pods are made from."""
        idle = [one for one in self.kept if revision_named(self._infer, one) not in used | {self.update}]
        return idle[: max(0, len(idle) - self._infer.spec.revision_history_limit)]

    def _former_roles(self, record: ControllerRevision) -> dict[str, Role] | None:
        """None for one that this version cannot read: its Pods are then replaced like others that are outdated."""
        try:
            template = InferGroupTemplate.model_validate(record.data.get(TEMPLATE), extra="ignore")
        except ValidationError:
            return None
        wanted = {role.name: role.replicas for role in self._infer.spec.template.roles}
        return {
            role.name: role.model_copy(update={"replicas": wanted.get(role.name, role.replicas)})
            for role in template.roles
        }


def revision_named(infer: ModelInfer, record: ControllerRevision) -> str:
    return record.metadata.name.removeprefix(f"{infer.metadata.name}-")


def _hashed(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:10]
