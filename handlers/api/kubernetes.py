"""Parts of Kubernetes' own that are handed on as they are: what is in them, only Kubernetes has to know."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from matrixinfer.handlers.api.jsonvalues import unfit
from matrixinfer.handlers.api.meta import Whole
from matrixinfer.handlers.api.patterns import PORT_NAME
from matrixinfer.handlers.api.sentences import NOT_JSON, shown

DEEPEST = 100
"""Objects and lists inside each other; Kubernetes' own have some ten."""


def _only_json(value: object) -> object:
    """What is no object at all, pydantic tells."""
    if isinstance(value, dict):
        for path, problem in unfit(value, DEEPEST):
            raise PydanticCustomError(NOT_JSON, "{problem}", {"problem": problem, "within": path})
    return value


JsonObject = Annotated[dict[str, Any], BeforeValidator(_only_json)]
"""Whatever JSON can say in an object of at most `DEEPEST` levels."""

Passed = JsonObject
"""An object of Kubernetes' API. A typing error in it is told by the API server, when the Pod is made; a node that runs
containers as processes does not look at it."""


def _int_or_text(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected a whole number or text in quotes, got {shown(value)}")
    for _, problem in unfit(value):
        raise ValueError(problem)
    return value


IntOrText = Annotated[int | str, BeforeValidator(_int_or_text), WithJsonSchema({"x-kubernetes-int-or-string": True})]
"""An amount such as `500m` or `80Gi`."""

LAST_PORT = 65535
LONGEST_PORT_NAME = 15

PortNumber = Annotated[Whole, Field(ge=1, le=LAST_PORT)]


def _port(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LAST_PORT:
        return value
    if isinstance(value, str) and len(value) <= LONGEST_PORT_NAME and re.fullmatch(PORT_NAME, value):
        return value
    raise ValueError(f"expected a number from 1 to {LAST_PORT} or the name of a port, got {shown(value)}")


Port = Annotated[
    int | str,
    PlainValidator(_port),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": PORT_NAME,
            "maxLength": LONGEST_PORT_NAME,
            "minimum": 1,
            "maximum": LAST_PORT,
        }
    ),
]
"""By its number, or by the name that the container's `ports` give it."""
