"""The one table of engines. A creator imports its engine only when it is chosen: no process pays for the others.

Engines of other distributions come by the entry point group `matrixinfer.engines`: the name is the kind, the object a
creator of the same shape as those below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from matrixinfer.agents.engines.errors import BadConfig
from matrixinfer.agents.engines.port import Engine

ENTRY_POINT_GROUP = "matrixinfer.engines"

Creator = Callable[[str, str, Mapping[str, Any]], Engine]
"""(model_path, served_model, config) → an engine that was not started. Raises BadConfig."""


def _llamacpp(model_path: str, served_model: str, config: Mapping[str, Any]) -> Engine:
    from matrixinfer.agents.engines.llamacpp import create

    return create(model_path, served_model, config)


def _simulated(model_path: str, served_model: str, config: Mapping[str, Any]) -> Engine:
    from matrixinfer.agents.engines.simulated import create

    return create(model_path, served_model, config)


ENGINES: dict[str, Creator] = {
    "LlamaCpp": _llamacpp,
    "Simulated": _simulated,
}


def create(kind: str, model_path: str, served_model: str, config: Mapping[str, Any]) -> Engine:
    """An engine of this kind, not started. `model_path` is a local file or folder, `served_model` the model's name.

    Raises BadConfig, naming the field, for a kind, a field or a value that cannot be used.
    """
    return _creator(kind)(model_path, served_model, config)


def _creator(kind: str) -> Creator:
    if kind in ENGINES:
        return ENGINES[kind]
    installed = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if kind not in installed:
        known = ", ".join(sorted(ENGINES.keys() | installed.keys()))
        raise BadConfig(f"engine {kind!r} is not known; known are: {known}")
    return _load(installed[kind])


def _load(point: EntryPoint) -> Creator:
    try:
        creator: Creator = point.load()
    except (ImportError, AttributeError) as error:
        raise BadConfig(
            f"engine {point.name!r}: its entry point {point.value!r} cannot be loaded ({error}); reinstall its package"
        ) from error
    return creator
