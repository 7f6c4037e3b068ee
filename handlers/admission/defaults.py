"""What an object leaves unsaid, written out. Pure.

The CRD's schema fills in single values of an object that is there; what a whole absent part means (a rollout strategy,
a recovery) only the types know. Optional parts stay absent, and templates of Pods are Kubernetes' own to fill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from matrixinfer.handlers.api.container import EnvVar
from matrixinfer.handlers.api.meta import Part
from matrixinfer.handlers.api.modelinfer import PodTemplate

KUBERNETES_OWN = (EnvVar, PodTemplate)


class Addition(NamedTuple):
    """`path` is a JSON pointer; whatever is above it is there already."""

    path: str
    value: Any


def additions(part: Part, given: Mapping[str, Any], path: str) -> Iterator[Addition]:
    """What must be added to `given`, from which `part` was read, so that nothing is left unsaid."""
    if isinstance(part, KUBERNETES_OWN):
        return
    for name, field in type(part).model_fields.items():
        outside, value = field.alias or name, getattr(part, name)
        here, held = f"{path}/{outside}", given.get(outside)
        if held is None:
            written = _written(value)
            if written is not None:
                yield Addition(here, written)
        elif isinstance(value, Part):
            yield from additions(value, held, here)
        elif isinstance(value, tuple):
            for number, (one, own) in enumerate(zip(value, held, strict=True)):
                if isinstance(one, Part):
                    yield from additions(one, own, f"{here}/{number}")


def _written(value: object) -> Any:
    """As JSON; None for what says nothing: no value, no text, nothing in it."""
    if isinstance(value, Part):
        fields = {f.alias or name: _written(getattr(value, name)) for name, f in type(value).model_fields.items()}
        return {name: said for name, said in fields.items() if said is not None} or None
    if isinstance(value, str):
        return str(value) or None
    return value if isinstance(value, bool | int | float) else None
