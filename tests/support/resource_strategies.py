"""Valid objects of every kind, made from the annotations of its type: a field that is added is covered by itself.

Each part is drawn field by field and then held against its validators. Where these refuse it, because several fields do
not go together, it is mended: fields are left out, added or shortened until they do.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from matrixinfer.handlers.api.meta import Resource

P = TypeVar("P", bound=BaseModel)
Schema = Mapping[str, Any]  # Any: as JSON has it

MOST_OPTIONAL = 4
"""Fields that one part has besides those that it must have: objects stay small, and are many."""
_NAMES = ("a", "b")
"""Drawn often where a pattern allows them, so that what refers by name finds something."""
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)


@functools.cache
def of_type(type_: type[P], having: str | None = None) -> st.SearchStrategy[P]:
    """Of a resource, or of a part of one; `having`: an optional field that it shall not be without."""
    return _drawn(type_, having)


def optional_fields(type_: type[BaseModel]) -> list[str]:
    """What names the kind of an object is no matter of choice."""
    fixed = {"api_version"} if issubclass(type_, Resource) else set()
    fixed |= {name for name, field in type_.model_fields.items() if _has_one_value(field.annotation)}
    return [name for name, field in type_.model_fields.items() if not field.is_required() and name not in fixed]


def _has_one_value(annotation: Any) -> bool:  # Any: an annotation
    return typing.get_origin(annotation) is typing.Literal and len(typing.get_args(annotation)) == 1


def parts_of(type_: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """`type_` and all types that it is made of."""
    seen = [type_]
    for each in seen:
        yield each
        for field in each.model_fields.values():
            seen.extend(found for found in _types_in(field.annotation) if found not in seen)


def _types_in(annotation: Any) -> Iterator[type[BaseModel]]:  # Any: an annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _types_in(argument)


@st.composite
def _drawn(draw: st.DrawFn, type_: type[P], having: str | None) -> P:
    fields = _fields(type_)
    optional = [name for name in optional_fields(type_) if name != having]
    needed = [name for name in fields if name not in optional]
    chosen = draw(st.lists(st.sampled_from(optional), unique=True, max_size=MOST_OPTIONAL)) if optional else []
    values = {name: draw(fields[name]) for name in (*needed, *chosen)}
    for attempt in _attempts(draw, fields, values, optional):
        try:
            return type_(**attempt)
        except ValidationError:
            continue
    return reject()


@functools.cache
def _fields(type_: type[BaseModel]) -> dict[str, st.SearchStrategy[Any]]:  # Any: of each field
    optional = optional_fields(type_)
    return {
        name: _of(field.rebuild_annotation())
        for name, field in type_.model_fields.items()
        if field.is_required() or name in optional
    }


def _attempts(
    draw: st.DrawFn, fields: Mapping[str, st.SearchStrategy[Any]], values: dict[str, Any], optional: list[str]
) -> Iterator[dict[str, Any]]:
    yield values
    yield (short := {name: _shortened(value) for name, value in values.items()})
    present = [name for name in optional if name in values]
    for name in present:
        yield {key: value for key, value in short.items() if key != name}
    for name in (one for one in optional if one not in values):
        yield short | {name: draw(fields[name])}
    bare = {name: value for name, value in short.items() if name not in optional}
    yield bare
    for name in present:
        yield bare | {name: short[name]}


def _shortened(value: Any) -> Any:
    """Of several that collide, the first alone."""
    if isinstance(value, tuple):
        return value[:1]
    return dict(list(value.items())[:1]) if isinstance(value, dict) else value


def _of(annotation: Any) -> st.SearchStrategy[Any]:
    """What comes out of it is what validation would make of it."""
    types_ = list(_types_in(annotation))
    schema = TypeAdapter(annotation).json_schema()
    origin, arguments = _taken_apart(annotation)
    if origin in (typing.Union, types.UnionType) and type(None) in arguments:
        (inner,) = [one for one in arguments if one is not type(None)]
        return _of(inner)
    if origin is tuple:
        return st.lists(_of(arguments[0]), min_size=schema.get("minItems", 0), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(
            _of(arguments[0]), _of(arguments[1]), min_size=schema.get("minProperties", 0), max_size=2
        )
    if types_:
        return of_type(types_[0])
    if annotation is Any:
        return _JSON
    return _scalars(annotation, schema)


def _taken_apart(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if typing.get_origin(annotation) is typing.Annotated:
        return _taken_apart(typing.get_args(annotation)[0])
    return typing.get_origin(annotation), typing.get_args(annotation)


def _scalars(annotation: Any, schema: Schema) -> st.SearchStrategy[Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def is_valid(value: object) -> bool:
        try:
            adapter.validate_python(value)
        except ValidationError:
            return False
        return True

    often = [name for name in _NAMES if is_valid(name)] if schema.get("type") == "string" else []
    anything = _written(schema).filter(is_valid).map(adapter.validate_python)
    if not often:
        return anything
    named = st.sampled_from(often)
    return st.integers(0, 4).flatmap(lambda number: named if number else anything)


def _written(schema: Schema) -> st.SearchStrategy[Any]:
    """As it stands in a manifest; validation has the last word."""
    if "$ref" in schema:
        return _written(schema["$defs"][schema["$ref"].rpartition("/")[2]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 100) | (_texts(schema) if "pattern" in schema else st.sampled_from(["0%", "25%", "100%"]))
    kinds = {
        "boolean": st.booleans(),
        "number": st.floats(0, 1),
        "integer": _integers(schema),
        "string": _texts(schema),
    }
    return kinds[schema["type"]]


def _integers(schema: Schema) -> st.SearchStrategy[int]:
    """Small ones often: the validators bound products of them."""
    least = schema.get("minimum", schema.get("exclusiveMinimum", -(2**31)))
    most = schema.get("maximum", 2**31)
    small = max(least, 0)
    return st.integers(small, max(small, min(most, small + 3))) | st.integers(least, most)


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if "pattern" in schema:
        return st.from_regex(str(schema["pattern"]), fullmatch=True)
    least, most = schema.get("minLength", 0), schema.get("maxLength", 8)
    return st.text(st.characters(codec="utf-8"), min_size=least, max_size=max(least, min(most, 8)))
