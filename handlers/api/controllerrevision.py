"""The subset of a core ControllerRevision that we write and read: a template as it once was."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from matrixinfer.handlers.api.meta import Resource, Whole


class ControllerRevision(Resource):
    API_VERSION: ClassVar[str] = "apps/v1"

    api_version: str = "apps/v1"
    kind: Literal["ControllerRevision"] = "ControllerRevision"
    revision: Whole = 0
    """Counts up: the largest was wanted last."""
    data: dict[str, Any] = Field(default={})  # Any: as the owner's spec has it
    """What the owner made of it; for a ModelInfer `{"template": …}`, as in its spec."""
