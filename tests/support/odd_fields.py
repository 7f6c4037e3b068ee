"""A Model and a Pod with one field changed, and what the door says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.errors import BadManifest

MODEL: dict[str, Any] = {
    "apiVersion": "matrixinfer.ai/v1alpha1",
    "kind": "Model",
    "metadata": {"name": "m"},
    "spec": {"backends": [{"name": "a", "type": "Simulated"}]},
}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c"}]},
}


def changed(body: dict[str, Any], *path: str | int, to: object) -> str:
    """The manifest with the value at `path` replaced."""
    copy = json.loads(json.dumps(body))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return yaml.safe_dump(copy)


def problem(text: str) -> str:
    with pytest.raises(BadManifest) as caught:
        parse_manifests(text)
    (only,) = caught.value.problems
    return only
