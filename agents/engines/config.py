"""How an engine's configuration (plain YAML values of a resource) becomes its typed, frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from matrixinfer.agents.engines.errors import BadConfig


class EngineConfig(BaseModel):
    """What the configurations of all engines have in common: frozen, and closed to fields that nobody reads."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
    )


C = TypeVar("C", bound=EngineConfig)


def checked(kind: str, record: type[C], config: Mapping[str, Any]) -> C:
    """The record for `config`. Raises BadConfig that names each bad field, and the known ones for an unknown."""
    try:
        return record.model_validate(dict(config))
    except ValidationError as error:
        raise BadConfig(f"engine {kind}: " + "; ".join(_complaints(record, error))) from error


def _complaints(record: type[EngineConfig], error: ValidationError) -> list[str]:
    known = ", ".join(sorted(record.model_fields))
    complaints = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"]) or "config"
        if item["type"] == "extra_forbidden":
            complaints.append(f"field {field!r} is not known; known are: {known}")
        else:
            value = f", got {item['input']!r}" if item["loc"] else ""
            complaints.append(f"{field}: {item['msg']}{value}")
    return complaints
