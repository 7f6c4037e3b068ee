"""The templates of a ModelInfer: the present one and the former ones, each under the name of its content. Pure.

A template here is all that Pods are made from: the roles, and the spec's plug-ins, scheduler and topology. How many
replicas a role has, what a gang needs and how long one waits for a restart is no part of it: that replaces nothing, and
counts for old groups too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.meta import Metadata, owned_by
from matrixinfer.handlers.api.modelinfer import Blueprint, ModelInfer, Role

_OF_THE_GROUP = ("gangPolicy", "restartGracePeriodSeconds")
"""Fields of the template that say nothing about a Pod."""


def revision_of(blueprint: Blueprint) -> str:
    """Names the content. Defaults do not count: a field that is new in a later version replaces no Pod."""
    around = _content(blueprint)
    body = around.pop("template")
    for role in body["roles"]:
        role.pop("replicas", None)
    return hashed(body | around)


def role_revision_of(blueprint: Blueprint, role: Role) -> str:
    """Of one role's Pods: plug-ins count that are for it."""
    around = _content(blueprint)
    topology = around.pop("template").get("networkTopology")
    own = [one for one in around.get("plugins", ()) if role.name in one.get("scope", {}).get("roles", [role.name])]
    around |= {"plugins": own, "networkTopology": topology}
    body = role.model_dump(mode="json", exclude_defaults=True)
    body.pop("replicas", None)
    return hashed(body | {name: value for name, value in around.items() if value})


def _content(blueprint: Blueprint) -> dict[str, Any]:
    """Any: JSON. Of a spec too, which is a blueprint and more."""
    content = blueprint.model_dump(mode="json", exclude_defaults=True, include=set(Blueprint.model_fields))
    for name in _OF_THE_GROUP:
        content["template"].pop(name, None)
    return content


class Templates:
    """All that Pods of `infer` may be made from."""

    def __init__(self, infer: ModelInfer, kept: Iterable[ControllerRevision]) -> None:
        self._infer = infer
        self.kept = sorted(
            (one for one in kept if one.is_owned_by(infer) and not one.is_terminating), key=lambda one: one.revision
        )
        self.update = revision_of(infer.spec)
        self._blueprints: dict[str, Blueprint] = {self.update: infer.spec}
        for one in self.kept:
            former = _read(one)
            if former is not None:
                self._blueprints.setdefault(revision_named(infer, one), former)
        self._roles = {revision: self._roles_now(blueprint) for revision, blueprint in self._blueprints.items()}
        self._hashes: dict[tuple[str, str], str] = {}

    def knows(self, revision: str) -> bool:
        return revision in self._roles

    def roles(self, revision: str) -> Mapping[str, Role]:
        """By name, with as many replicas as are wanted now."""
        return self._roles[revision]

    def any_role(self, is_so: Callable[[Role], bool]) -> bool:
        """Of any template, former ones too."""
        return any(is_so(role) for roles in self._roles.values() for role in roles.values())

    def blueprint(self, revision: str) -> Blueprint:
        """With the replicas that were wanted then."""
        return self._blueprints[revision]

    def role_revision(self, revision: str, role: str) -> str:
        key = (revision, role)
        if key not in self._hashes:
            self._hashes[key] = role_revision_of(self._blueprints[revision], self._roles[revision][role])
        return self._hashes[key]

    def is_former(self, revision: str, role: str | None = None) -> bool:
        """Do its Pods, or those of the role, differ from the present ones?"""
        if revision == self.update:
            return False
        names = self._roles[revision].keys() | self._roles[self.update].keys() if role is None else {role}
        return any(not self._is_alike(revision, name) for name in names)

    def _is_alike(self, revision: str, role: str) -> bool:
        if role not in self._roles[revision] or role not in self._roles[self.update]:
            return False
        return self.role_revision(revision, role) == self.role_revision(self.update, role)

    def to_keep(self) -> ControllerRevision | None:
        """The record of the present template, where it is missing or not the last one."""
        last = self.kept[-1].revision if self.kept else 0
        same = next((one for one in self.kept if revision_named(self._infer, one) == self.update), None)
        if same is not None:
            return None if same.revision == last else same.model_copy(update={"revision": last + 1})
        infer = self._infer
        metadata = Metadata(
            name=f"{infer.metadata.name}-{self.update}",
            namespace=infer.metadata.namespace,
            labels={labels.MODELINFER: infer.metadata.name, labels.REVISION: self.update},
            owner_references=(owned_by(infer),),
        )
        return ControllerRevision(metadata=metadata, revision=last + 1, data=_content(infer.spec))

    def to_forget(self, used: set[str]) -> list[ControllerRevision]:
        """Those above the limit, the oldest first; never one that Pods are made from."""
        idle = [one for one in self.kept if revision_named(self._infer, one) not in used | {self.update}]
        return idle[: max(0, len(idle) - self._infer.spec.revision_history_limit)]

    def _roles_now(self, blueprint: Blueprint) -> dict[str, Role]:
        wanted = {role.name: role.replicas for role in self._infer.spec.template.roles}
        return {
            role.name: role.model_copy(update={"replicas": wanted.get(role.name, role.replicas)})
            for role in blueprint.template.roles
        }


def _read(record: ControllerRevision) -> Blueprint | None:
    """None for one that this version cannot read: its Pods are then replaced like others that are outdated."""
    try:
        return Blueprint.model_validate(record.data, extra="ignore")
    except ValidationError:
        return None


def revision_named(infer: ModelInfer, record: ControllerRevision) -> str:
    return record.metadata.name.removeprefix(f"{infer.metadata.name}-")


def hashed(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:10]
