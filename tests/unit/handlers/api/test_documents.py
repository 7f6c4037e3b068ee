"""YAML that is small when written and large when read."""

from __future__ import annotations

import sys

import pytest

from matrixinfer.handlers.api.documents import MOST_NODES, documents
from matrixinfer.handlers.api.manifests import MOST_PROBLEMS, parse_manifests
from matrixinfer.handlers.api.sentences import shown
from matrixinfer.handlers.errors import BadManifest


def laughs(levels: int, width: int = 9) -> str:
    lines = ["a0: &a0 ha"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


def problems(text: str) -> list[str]:
    with pytest.raises(BadManifest) as caught:
        parse_manifests(text)
    return caught.value.problems


@pytest.mark.parametrize("opening", ["", "kind: [*a8]\n", "apiVersion: v1\nkind: Pod\nspec: *a8\n"])
def test_aliases_that_expand_without_bound_are_refused_before_they_are_written_out(opening):
    text = f"{laughs(9)}\n{opening}"
    assert len(text) < 700
    (problem,) = problems(text)
    assert problem.startswith("the document at line 1 has ")
    assert problem.endswith(f"values when its aliases are written out; expected at most {MOST_NODES}")


def test_merges_that_expand_without_bound_are_refused_too():
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    assert "when its aliases are written out" in problems("\n".join(lines))[0]


def test_an_alias_of_itself_is_refused():
    assert problems("a: 1\nb: &b [*b]") == ["the value at line 2 holds an alias of itself; expected values that end"]


def test_a_few_aliases_are_fine():
    assert list(documents("a: &x {y: 1}\nb: *x\nc: {<<: *x, z: 2}")) == [
        {"a": {"y": 1}, "b": {"y": 1}, "c": {"y": 1, "z": 2}}
    ]


@pytest.mark.parametrize("text", ["[" * 5000, f"a: {'9' * 5000}", "a: 2026-13-45"], ids=["depth", "digits", "date"])
def test_what_cannot_be_read_is_refused_with_a_reason(text):
    assert problems(text)[0].startswith("not YAML that can be read: ")


def test_a_kind_is_looked_up_only_when_it_is_text():
    assert problems("kind: {Model: 1}")[0].endswith("got {'Model': 1}")


LARGE: list[object] = [
    "x" * 10_000,
    {n: [n] * 100 for n in range(1000)},
    [[[[["deep"]]]]],
    {"a": {"b": {"c": {}}}},
    1 << 40_000,
]


@pytest.mark.parametrize("value", LARGE, ids=["text", "mapping", "lists", "mappings", "number"])
def test_a_large_value_is_shown_by_its_beginning(value):
    assert len(shown(value)) <= 200


def test_a_value_that_repeats_itself_is_shown_without_being_written_out():
    value: list[object] = []
    for _ in range(sys.getrecursionlimit()):
        value = [value, value]
    assert len(shown(value)) <= 200


def test_only_so_many_problems_are_told_at_once():
    fields = "\n".join(f"  x{n}: 1" for n in range(500))
    found = problems(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{fields}")
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == "and more; mend these first"
