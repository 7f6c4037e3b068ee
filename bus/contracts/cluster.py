"""The local cluster's door on `mi.cluster.<verb>`, request and reply, and how its objects lie in the bucket OBJECTS.

Objects travel as JSON in Kubernetes' form (apiVersion, kind, metadata, spec, status). In OBJECTS the key is
`<Kind>.<namespace>.<name>`; the stored JSON has no `metadata.resourceVersion`: that is the entry's revision.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from matrixinfer.bus.subjects import key

Verb = Literal["apply", "get", "list", "status", "delete"]
Outcome = Literal["created", "configured", "unchanged"]
RefusalCode = Literal["invalid", "not_found", "conflict", "unavailable"]


class Apply(msgspec.Struct, frozen=True, array_like=True):
    """`manifests` is YAML, any number of documents. All of them are checked before the first is applied.

    `namespace` is for documents that name none.
    """

    manifests: str
    namespace: str = "default"


class AppliedObject(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    namespace: str
    name: str
    outcome: Outcome


class Applied(msgspec.Struct, frozen=True, array_like=True, tag="applied"):
    objects: list[AppliedObject]


class Get(msgspec.Struct, frozen=True, array_like=True):
    """`kind` is a kind, its plural or a short name, in any case."""

    kind: str
    namespace: str
    name: str


class ListObjects(msgspec.Struct, frozen=True, array_like=True):
    """`namespace` empty: all. `labels` must all match. `after` is the `more` of the page before."""

    kind: str
    namespace: str = ""
    labels: dict[str, str] = {}
    after: str = ""
    limit: int = 500


class SetStatus(msgspec.Struct, frozen=True, array_like=True):
    """Replace the whole status (JSON) of the object that has this uid."""

    kind: str
    namespace: str
    name: str
    uid: str
    status: bytes


class Delete(msgspec.Struct, frozen=True, array_like=True):
    """A `uid` that is not empty must be the object's: another object of the same name is left alone."""

    kind: str
    namespace: str
    name: str
    uid: str = ""


class Objects(msgspec.Struct, frozen=True, array_like=True, tag="objects"):
    """`more` is not empty when there is a next page."""

    objects: list[bytes]
    more: str = ""


class Deleted(msgspec.Struct, frozen=True, array_like=True, tag="deleted"):
    """`found` is False when there was nothing to delete."""

    found: bool


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag="refusal"):
    """Nothing was done. `problems` are sentences for a person, one for each thing that is wrong."""

    code: RefusalCode
    problems: list[str]


DoorReply = Applied | Objects | Deleted | Refusal


def object_key(kind: str, namespace: str, name: str) -> str:
    return key(kind, namespace, name)
