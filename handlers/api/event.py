"""The core Event: what happened to an object, for people. It has neither spec nor status."""

from __future__ import annotations

from typing import ClassVar, Literal

from matrixinfer.handlers.api.meta import Part, Resource


class ObjectReference(Part):
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""


class EventSource(Part):
    component: str = ""


class Event(Resource):
    API_VERSION: ClassVar[str] = "v1"

    api_version: str = "v1"
    kind: Literal["Event"] = "Event"
    involved_object: ObjectReference
    reason: str = ""
    """One CamelCase word."""
    message: str = ""
    type: Literal["Normal", "Warning"] = "Normal"
    count: int = 1
    """How often it happened between the two times."""
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    source: EventSource = EventSource()
