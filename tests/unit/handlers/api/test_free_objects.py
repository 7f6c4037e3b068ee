"""Objects whose fields we do not know: they are what JSON can hold, and an API server."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import yaml

from matrixinfer.handlers.api.jsonobject import MOST_LEVELS
from matrixinfer.handlers.api.manifests import read_manifest
from matrixinfer.handlers.errors import BadManifest
from support.odd_fields import MODEL, POD, changed


def nested(levels: int) -> Any:
    """So many objects and lists in one another."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


FREE = {
    "affinity": (POD, ("spec", "affinity")),
    "config": (MODEL, ("spec", "backends", 0, "config")),
    "parameters": (MODEL, ("spec", "backends", 0, "dispatch")),
}


def free(name: str, value: Any) -> object:
    """A manifest as the door and the webhook have it: objects, not text."""
    body, path = FREE[name]
    to = {"profile": {"scorers": [{"name": "s", "parameters": value}]}} if name == "parameters" else value
    copy = yaml.safe_load(changed(body, *path, to=None))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return copy


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": nested(MOST_LEVELS)}, f"expected at most {MOST_LEVELS} objects and lists in one another"),
        ({"a": nested(100_000)}, f"expected at most {MOST_LEVELS} objects and lists in one another"),
        ({"a": [1, float("nan")]}, "a[1]: expected a finite number, got nan"),
        ({"a": {"b": float("-inf")}}, "a.b: expected a finite number, got -inf"),
        ({"a": 2**63}, "a: expected a whole number of at most 64 bits"),
        ({"a": -(2**63) - 1}, "a: expected a whole number of at most 64 bits"),
        ({"a": "\ud800"}, "a: expected text that is valid Unicode"),
        ({"a": {"\ud800": 1}}, "a: expected text as the name of a field"),
        ({"a": {1: 1}}, "a: expected text as the name of a field, got 1"),
        ({"a": datetime.date(2026, 1, 1)}, "a: expected what JSON can hold; dates and the like need quotes"),
    ],
    ids=["too deep", "endless", "nan", "inf", "large", "small", "half a character", "half a name", "number", "date"],
)
def test_a_free_object_is_what_json_can_hold(name, value, expected):
    with pytest.raises(BadManifest) as caught:
        read_manifest(free(name, value), "default", where="")
    assert expected in caught.value.problems[0]


@pytest.mark.parametrize("name", FREE)
def test_a_free_object_may_be_deep_and_of_all_that_json_knows(name):
    value = {"a": nested(MOST_LEVELS - 1), "b": [2**63 - 1, -(2**63), 1.5, True, None, "é"]}
    read = read_manifest(free(name, value), "default", where="")
    assert type(read).read(read.to_json()) == read
