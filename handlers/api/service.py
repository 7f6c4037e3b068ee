"""The subset of a core Service that we write and read: a name under which one Pod is found."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from matrixinfer.handlers.api.meta import Flag, Labels, Part, Resource

HEADLESS = "None"


class ServiceSpec(Part):
    cluster_ip: str = ""
    """`None`: no address of its own, its name is that of the Pods."""

    publish_not_ready_addresses: Flag = False
    """The name is known before the Pods are ready: they need each other to become so."""

    selector: Labels = Field(default={})


class Service(Resource):
    API_VERSION: ClassVar[str] = "v1"

    api_version: str = "v1"
    kind: Literal["Service"] = "Service"
    spec: ServiceSpec = ServiceSpec()
