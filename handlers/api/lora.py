"""LoRA adapters, as a ModelServer and a Model's backends name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from matrixinfer.handlers.api.meta import Part
from matrixinfer.handlers.api.patterns import ADAPTER_NAME, ARTIFACT_URI


class LoraAdapter(Part):
    """Small weights that change what a model answers; clients ask for it by its name."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=ADAPTER_NAME)]
    """What clients write as `model`."""

    artifact_url: Annotated[str, Field(min_length=1, max_length=1024, pattern=ARTIFACT_URI)]
    """Where the weights come from, as `scheme://…`, with the schemes of `modelURI`."""


LoraAdapters = Annotated[
    tuple[LoraAdapter, ...],
    Field(
        max_length=1000,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
]
"""An API server refuses two of one name by itself; a rule in CEL would cost it too much."""


def check_names(adapters: Iterable[LoraAdapter]) -> None:
    """Raises ValueError: two would be one for clients."""
    seen: set[str] = set()
    for adapter in adapters:
        if adapter.name in seen:
            raise ValueError(f"loraAdapters must have different names, met {adapter.name!r} twice")
        seen.add(adapter.name)
