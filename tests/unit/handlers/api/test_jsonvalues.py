"""What is handed on as it is must be JSON that every reader takes; so must a whole manifest, before anything else."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from matrixinfer.handlers.api.backend import Worker
from matrixinfer.handlers.api.container import Container
from matrixinfer.handlers.api.jsonvalues import unfit
from matrixinfer.handlers.api.kubernetes import DEEPEST, Passed
from matrixinfer.handlers.api.manifests import parse_manifests, read_manifest
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.errors import BadManifest

HALF = "\ud800"
PASSED: TypeAdapter[dict[str, Any]] = TypeAdapter(Passed)
BAD = [
    (HALF, "expected text that is valid Unicode, got '\\ud800'"),
    (2**63, "expected a number of at most 64 bits, got 9223372036854775808"),
    (-(2**63) - 1, "expected a number of at most 64 bits, got -9223372036854775809"),
    (10**5000, "expected a number of at most 64 bits, got a number of 16610 bits"),
    (math.nan, "expected a finite number, got nan"),
    (math.inf, "expected a finite number, got inf"),
    (-math.inf, "expected a finite number, got -inf"),
    (datetime.date(2030, 1, 1), "dates need quotes to be text"),
    ({1, 2}, "expected text, a number, true, false, a list or an object, got {1, 2}"),
    (b"x", "expected text, a number, true, false, a list or an object, got b'x'"),
    ({3: "x"}, "expected text as the name of a field, got 3"),
    ({None: "x"}, "expected text as the name of a field, got nothing"),
    ({HALF: "x"}, "expected names that are valid Unicode, got '\\ud800'"),
]
WHERE = {
    "affinity": ({"affinity": {"a": [{"b": ...}]}}, "spec.affinity.a[0].b"),
    "tolerations": ({"tolerations": [{"key": "x"}, {"key": ...}]}, "spec.tolerations[1].key"),
    "a volume": ({"volumes": [{"name": "v", "csi": {"driver": ...}}]}, "spec.volumes[0].csi.driver"),
    "a container": (
        {"containers": [{"name": "c", "securityContext": {"runAsUser": ...}}]},
        "spec.containers[0].securityContext.runAsUser",
    ),
}


def filled(template: Any, value: object) -> Any:
    """`template` with `value` where it leaves room."""
    if isinstance(template, dict):
        return {name: filled(part, value) for name, part in template.items()}
    if isinstance(template, list):
        return [filled(part, value) for part in template]
    return value if template is ... else template


def pod(**spec: Any) -> dict[str, Any]:
    """Any: fields of a Pod's spec."""
    spec = {"containers": [{"name": "c"}]} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def problems(document: object) -> list[str]:
    with pytest.raises(BadManifest) as refused:
        read_manifest(document, "default", where="x")
    for problem in refused.value.problems:
        assert problem.encode()
    return refused.value.problems


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("value", "expected"), BAD, ids=lambda part: ascii(part)[:40] if isinstance(part, str) else "")
def test_what_is_no_json_is_refused_where_it_stands(where, value, expected):
    template, path = WHERE[where]
    (problem,) = problems(pod(**filled(template, value)))
    assert problem.startswith(f"x (Pod p): {path}: ")
    assert expected in problem


@pytest.mark.parametrize(("value", "expected"), BAD, ids=lambda part: ascii(part)[:40] if isinstance(part, str) else "")
def test_the_type_itself_takes_none_of_it(value, expected):
    for take in (
        lambda: PodSpec(containers=(Container(name="c"),), affinity={"a": value}),
        lambda: Worker(config={"a": value}),
    ):
        with pytest.raises(ValidationError) as refused:
            take()
        (detail,) = refused.value.errors()
        assert expected in detail["msg"]
        assert detail["ctx"]["within"] == ("a",)


def nested(levels: int, *, lists: bool = False) -> dict[str, Any]:
    value: Any = [] if lists else {}
    for _ in range(levels - 2):
        value = [value] if lists else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("lists", [False, True])
def test_a_hundred_levels_are_taken_and_no_more(lists):
    deepest = nested(DEEPEST, lists=lists)
    assert PASSED.validate_python(deepest) == deepest
    assert parse_manifests(yaml.safe_dump(pod(affinity=deepest)))
    for levels, most in ((DEEPEST + 1, 100), (100_000, 200)):
        (problem,) = problems(pod(affinity=nested(levels, lists=lists)))
        assert problem.startswith("x (Pod p): spec.affinity.a")
        assert problem.endswith(f": expected at most {most} levels of objects and lists")
        assert len(problem) < 200


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (pod() | {"metadata": {"name": "p", "annotations": {"a": HALF}}}, "metadata.annotations.a"),
        (pod() | {"metadata": {"name": "p", "labels": {HALF: "a"}}}, "metadata.labels"),
        (pod(nodeSelector={HALF: "a"}), "spec.nodeSelector"),
        (pod(hostname=HALF), "spec.hostname"),
        (pod(containers=[{"name": "c", "image": HALF}]), "spec.containers[0].image"),
        (pod(overhead={"cpu": 2**70}), "spec.overhead.cpu"),
        (pod(**{HALF: 1}), "spec"),
        (pod() | {HALF: 1}, "expected names"),
    ],
)
def test_no_field_takes_what_is_no_json(document, path):
    (problem,) = problems(document)
    assert problem.startswith(f"x (Pod p): {path}")


def test_a_name_that_is_half_a_character_is_told_in_whole_ones():
    (problem,) = problems(pod() | {"metadata": {"name": HALF}})
    assert problem == "x (Pod '\\ud800'): metadata.name: expected text that is valid Unicode, got '\\ud800'"


def test_every_problem_is_told_in_the_order_of_the_manifest():
    document = pod(affinity={"a": math.nan, "b": [HALF, 1, 2**64]}, hostname=HALF)
    paths = [one.removeprefix("x (Pod p): ").partition(": ")[0] for one in problems(document)]
    assert paths == ["spec.affinity.a", "spec.affinity.b[0]", "spec.affinity.b[2]", "spec.hostname"]


_TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
_LEAF = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(_LEAF | _TEXT, lambda one: st.lists(one) | st.dictionaries(_TEXT, one), max_leaves=10)
_ANY = st.recursive(
    _LEAF | st.text(max_size=5) | st.floats() | st.integers() | st.dates() | st.binary(max_size=3),
    lambda one: st.lists(one) | st.dictionaries(st.text(max_size=5) | st.integers(), one),
    max_leaves=10,
)


@given(st.dictionaries(_TEXT, _JSON))
def test_what_is_json_is_handed_on_as_it_is(value):
    assert PASSED.validate_python(value) == value
    assert PASSED.dump_python(PASSED.validate_python(value), mode="json") == value


@given(st.dictionaries(st.text(max_size=5), _ANY))
def test_what_is_taken_is_json_and_what_is_not_is_none(value):
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        is_json = json.loads(text) == value and all(abs(one) <= 2**63 for one in whole_numbers(value))
    except (TypeError, ValueError):
        is_json = False
    assert is_json == (not list(unfit(value)))


def whole_numbers(value: object) -> list[int]:
    if isinstance(value, dict | list):
        return [one for part in (value.values() if isinstance(value, dict) else value) for one in whole_numbers(part)]
    return [value] if isinstance(value, int) else []
