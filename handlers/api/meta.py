"""What all resources have in common: metadata, conditions, and how they become JSON and back.

Admission is strict (an unknown field is an error); reading what is stored is lenient, because a newer version, or
Kubernetes itself, may have written fields that this version does not know.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from matrixinfer.handlers.api.patterns import DNS_LABEL, DNS_NAME, DNS_NAME_OR_NONE, LABEL_VALUE
from matrixinfer.handlers.api.rules import Rule, with_rules

GROUP_VERSION = "matrixinfer.ai/v1alpha1"
DEFAULT_NAMESPACE = "default"

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
DnsName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
OptionalName = Annotated[str, Field(max_length=253, pattern=DNS_NAME_OR_NONE)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
Labels = dict[str, LabelValue]
Whole = Annotated[int, Field(strict=True, le=2**31 - 1)]
"""A number as Kubernetes takes it: of 32 bits where nothing else is said, and neither `yes` nor `"2"` is one."""
Flag = Annotated[bool, Field(strict=True)]


def _outside(field: str) -> str:
    """`model_uri` is `modelURI` and `pod_ip` is `podIP`, as Kubernetes writes abbreviations."""
    return re.sub(r"(Uri|Url|Ip|Ipc|Pid|Api|Fqdn)$", lambda match: match.group().upper(), to_camel(field))


class Part(BaseModel):
    """Anything inside a resource: immutable, camelCase outside, snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_outside,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        json_schema_extra=with_rules,
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()
    """What its validators say about several fields, in CEL."""


class OwnerReference(Part):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: Flag | None = None
    block_owner_deletion: Flag | None = None


class Metadata(Part):
    """The part of Kubernetes' metadata that we read and write. The cluster fills uid, generation, resourceVersion
    and the times (RFC 3339, UTC)."""

    name: DnsName
    namespace: DnsLabel = DEFAULT_NAMESPACE
    labels: Labels = {}
    annotations: dict[str, str] = {}
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class Condition(Part):
    """One fact about an object, for people and for programs. `reason` is one CamelCase word."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    observed_generation: int | None = None
    last_transition_time: str | None = None


class Resource(Part):
    """A whole object. Every kind adds `kind`, `spec` and `status` and says its `API_VERSION`."""

    API_VERSION: ClassVar[str] = GROUP_VERSION

    api_version: str = GROUP_VERSION
    kind: str
    metadata: Metadata

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.metadata.namespace, self.metadata.name

    @property
    def is_terminating(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def age_order(self) -> tuple[str, str, str]:
        """Sorts the oldest first; equal times by name, so that everybody agrees who was first."""
        return self.metadata.creation_timestamp or "", self.metadata.namespace, self.metadata.name

    def owner(self) -> OwnerReference | None:
        """The one that controls this object."""
        return next((owner for owner in self.metadata.owner_references if owner.controller), None)

    def is_owned_by(self, other: Resource) -> bool:
        owner = self.owner()
        return owner is not None and owner.uid == other.metadata.uid

    def to_json(self) -> dict[str, Any]:
        """Kubernetes' form: defaults left out, except what names the object."""
        body = self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        body["metadata"]["namespace"] = self.metadata.namespace
        return {"apiVersion": self.api_version, "kind": self.kind} | body

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """A stored object; what this version does not know is ignored. Raises pydantic's ValidationError."""
        return cls.model_validate(body, extra="ignore")


def owned_by(owner: Resource) -> OwnerReference:
    """The reference that a child of `owner` carries."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )
