"""Single values of manifests: what a field takes in is the same everywhere, and what it refuses is told in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from matrixinfer.handlers.api import patterns
from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicySpec
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBindingSpec
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Metadata
from matrixinfer.handlers.api.model import ModelSpec
from matrixinfer.handlers.api.modelinfer import ModelInferSpec
from matrixinfer.handlers.api.modelroute import ModelRouteSpec
from matrixinfer.handlers.api.modelserver import ModelServerSpec
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.api.registry import KINDS
from support.odd_fields import MODEL, POD, changed, problem

WRITTEN_BY_PEOPLE = (
    ModelSpec,
    ModelInferSpec,
    ModelRouteSpec,
    ModelServerSpec,
    AutoScalingPolicySpec,
    AutoScalingPolicyBindingSpec,
    PodSpec,
)
NUL = "expected text without the character NUL: no process can be given one"


def scalars(type_: type[BaseModel]) -> Iterator[tuple[str, Any, type]]:
    """Every field below `type_` that takes a whole number or a truth, with its annotation."""
    for name, field in type_.model_fields.items():
        schema = json.dumps(TypeAdapter(field.rebuild_annotation()).json_schema())
        for kind, word in ((int, '"integer"'), (bool, '"boolean"')):
            if word in schema and "properties" not in schema:
                yield f"{type_.__name__}.{name}", field.rebuild_annotation(), kind
        for part in parts_of(field.annotation):
            yield from scalars(part)


def parts_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from parts_of(argument)


SCALARS = {name: (annotation, kind) for spec in WRITTEN_BY_PEOPLE for name, annotation, kind in scalars(spec)}
NUMBERS = {name: annotation for name, (annotation, kind) in SCALARS.items() if kind is int}
TOKENS = {f"RateLimit.{field}_per_unit" for field in ("input_tokens", "output_tokens", "requests")}
"""In a month there may be many."""
FLAGS = {name: annotation for name, (annotation, kind) in SCALARS.items() if kind is bool}


def test_the_numbers_of_all_specs_are_found():
    assert {"Backend.min_replicas", "Role.worker_replicas", "WorkloadPort.port", "TargetModel.weight"} <= NUMBERS.keys()
    assert "RolloutStrategy.paused" in FLAGS


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("value", [True, "2", "yes", 2.5, 1.0])
def test_no_number_is_made_of_what_is_none(name, value):
    with pytest.raises(ValidationError):
        TypeAdapter(NUMBERS[name]).validate_python(value)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_no_number_is_larger_than_a_server_takes(name):
    with pytest.raises(ValidationError):
        TypeAdapter(NUMBERS[name]).validate_python(2**63)
    if name not in TOKENS:
        with pytest.raises(ValidationError):
            TypeAdapter(NUMBERS[name]).validate_python(2**31)


@pytest.mark.parametrize("name", sorted(FLAGS))
@pytest.mark.parametrize("value", ["yes", "true", 1, 0.0])
def test_no_flag_is_made_of_what_is_none(name, value):
    with pytest.raises(ValidationError):
        TypeAdapter(FLAGS[name]).validate_python(value)


@pytest.mark.parametrize(("field", "kind"), [("controller", bool), ("block_owner_deletion", bool)])
def test_no_truth_is_made_of_what_is_none(field, kind):
    (owners,) = parts_of(Metadata.model_fields["owner_references"].annotation)
    adapter = TypeAdapter(owners.model_fields[field].rebuild_annotation())
    assert adapter.validate_python(True) is True
    for value in ("yes", 1, "true"):
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_every_pattern_of_every_kind_has_a_meaning():
    used = {pattern for kind in KINDS.values() for pattern in found_patterns(kind.type.model_json_schema())}
    assert used == patterns.MEANINGS.keys()


def found_patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        yield from schema.get("patternProperties", {})
        for part in schema.values():
            yield from found_patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from found_patterns(part)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            changed(MODEL, "spec", "backends", 0, "minReplicas", to=True),
            "minReplicas: expected a whole number, got True",
        ),
        (changed(MODEL, "spec", "backends", 0, "minReplicas", to="2"), "minReplicas: expected a whole number, got '2'"),
        (changed(MODEL, "spec", "backends", 0, "minReplicas", to=-1), "minReplicas: expected at least 0, got -1"),
        (changed(MODEL, "spec", "backends", 0, "routeWeight", to=101), "routeWeight: expected at most 100, got 101"),
        (changed(MODEL, "spec", "backends", to=[]), "spec.backends: expected 1 or more entries, got []"),
        (changed(MODEL, "spec", "backends", to="main"), "spec.backends: expected a list, got 'main'"),
        (
            changed(MODEL, "spec", "backends", 0, to=3),
            "spec.backends[0]: expected an object with fields of its own, got 3",
        ),
        (changed(MODEL, "spec", to=None), "spec: expected an object with fields of its own, got nothing"),
        (changed(MODEL, "metadata", to="m"), "metadata: expected an object with fields of its own, got 'm'"),
        (changed(MODEL, "metadata", "name", to=""), "metadata.name: expected 1 or more characters, got ''"),
        (
            changed(MODEL, "metadata", "labels", to=["a"]),
            "metadata.labels: expected names with their values, got ['a']",
        ),
        (
            changed(MODEL, "metadata", "labels", to={"a": "b c"}),
            "metadata.labels.a: expected letters, digits, '-', '_' and '.', beginning and ending with a letter or "
            "digit, or nothing, got 'b c'",
        ),
        (
            changed(MODEL, "spec", "name", to="my model"),
            "spec.name: expected letters, digits, '-', '.', '_', '/' and ':', got 'my model'",
        ),
        (changed(MODEL, "spec", "name", to=7), "spec.name: expected text; numbers, true and false need quotes"),
        (
            changed(POD, "spec", "restartPolicy", to="Maybe"),
            "spec.restartPolicy: expected 'Always', 'OnFailure' or 'Never', got 'Maybe'",
        ),
        (
            changed(POD, "spec", "containers", 0, "env", to=[{"name": "A=B"}]),
            "env[0].name: expected printable characters of ASCII without '=', got 'A=B'",
        ),
    ],
)
def test_what_was_expected_is_told_in_words(text, expected):
    assert expected in problem(text)


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("command", ["sh", "a\0b"], "command[1]"),
        ("args", ["\0"], "args[0]"),
        ("env", [{"name": "A", "value": "a\0b"}], "env[0].value"),
        ("workingDir", "/tmp\0", "workingDir"),
    ],
)
def test_what_no_process_can_be_given_is_refused_where_it_is_written(field, value, where):
    assert f"spec.containers[0].{where}: {NUL}" in problem(changed(POD, "spec", "containers", 0, field, to=value))


def test_a_model_hands_no_nul_on_to_its_pods():
    env = [{"name": "A", "value": "\0"}]
    assert f"spec.backends[0].env[0].value: {NUL}" in problem(changed(MODEL, "spec", "backends", 0, "env", to=env))
    uri = problem(changed(MODEL, "spec", "backends", 0, "modelURI", to="file:///a\0b"))
    assert "spec.backends[0].modelURI: expected scheme://… without spaces" in uri


def test_lines_and_tabs_are_text_for_a_process():
    assert parse_manifests(changed(POD, "spec", "containers", 0, "command", to=["sh", "-c", "a\n\tb\n"]))
