"""Parts of Kubernetes' own that are handed on as they are: what is in them, only Kubernetes has to know."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from matrixinfer.handlers.api.sentences import shown

Passed = dict[str, Any]
"""An object of Kubernetes' API. A typing error in it is told by the API server, when the Pod is made; a node that runs
containers as processes does not look at it."""


def _int_or_text(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected a whole number or text in quotes, got {shown(value)}")
    return value


IntOrText = Annotated[int | str, BeforeValidator(_int_or_text), WithJsonSchema({"x-kubernetes-int-or-string": True})]
"""The number of a port or its name; an amount such as `500m` or `80Gi`."""
