"""Parts of Kubernetes' own that are handed on as they are: what is in them, only Kubernetes has to know."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from matrixinfer.handlers.api.jsonobject import JsonObject
from matrixinfer.handlers.api.sentences import shown

Passed = JsonObject
"""An object of Kubernetes' API. A typing error in it is told by the API server, when the Pod is made; a node that runs
containers as processes does not look at it."""


LAST_PORT = 65535


def _int_or_text(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected a whole number or text in quotes, got {shown(value)}")
    return value


IntOrText = Annotated[int | str, BeforeValidator(_int_or_text), WithJsonSchema({"x-kubernetes-int-or-string": True})]
"""An amount such as `500m` or `80Gi`."""


def _port_or_name(value: int | str) -> int | str:
    if isinstance(value, int) and not 1 <= value <= LAST_PORT:
        raise ValueError(f"expected a port from 1 to {LAST_PORT}, got {shown(value)}")
    return value


PortOrName = Annotated[IntOrText, AfterValidator(_port_or_name)]
"""The number of a port, or the name that one of the container's ports has."""
