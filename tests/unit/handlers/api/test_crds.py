"""The CRDs: structural, complete, and with rules that say what the validators say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from matrixinfer.handlers.api.crds.columns import COLUMNS
from matrixinfer.handlers.api.crds.render import our_kinds, rendered
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.errors import BadManifest
from support.rule_cases import CASES, Case

KINDS = our_kinds()


def schema_of(kind) -> dict[str, Any]:
    """Any: a schema."""
    (version,) = rendered(kind)["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from parts(schema[name], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_schema_is_structural(kind):
    for path, part in parts(schema_of(kind)):
        is_open = part.get("x-kubernetes-preserve-unknown-fields") or part.get("x-kubernetes-int-or-string")
        assert "type" in part or is_open, path
        assert not {"$ref", "anyOf", "allOf", "oneOf", "title", "const", "$defs"} & part.keys(), path
        assert not ("properties" in part and "additionalProperties" in part), path
        assert (part.get("type") == "array") == ("items" in part), path
        assert set(part.get("required", ())) <= part.get("properties", {}).keys(), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_columns_of_fields_that_exist_and_a_status_of_its_own(kind):
    (version,) = rendered(kind)["spec"]["versions"]
    assert version["subresources"]["status"] == {}
    fields = {path for path, _ in parts(schema_of(kind))}
    for column in COLUMNS[kind.name]:
        assert column.path.partition("[")[0] in fields, column


def test_groups_are_scaled_by_the_scale_subresource():
    (infer,) = [kind for kind in KINDS if kind.name == "ModelInfer"]
    (version,) = rendered(infer)["spec"]["versions"]
    fields = {path for path, _ in parts(schema_of(infer))}
    assert set(version["subresources"]["scale"].values()) <= fields


def test_numbers_have_their_bounds_and_defaults_and_text_its_pattern():
    (model,) = [kind for kind in KINDS if kind.name == "Model"]
    backend = schema_of(model)["properties"]["spec"]["properties"]["backends"]["items"]["properties"]
    assert (backend["minReplicas"]["default"], backend["minReplicas"]["minimum"]) == (1, 0)
    assert backend["type"]["enum"] == ["SGLang", "vLLM", "LlamaCpp", "Simulated", "OpenAI"]
    assert backend["name"]["pattern"].startswith("^[a-z0-9]")
    assert backend["config"].pop("description").startswith("The engine's own configuration")
    assert backend["config"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_there_is_a_case_for_every_rule():
    rules = [
        rule
        for kind in KINDS
        for _, part in parts(schema_of(kind))
        for rule in part.get("x-kubernetes-validations", ())
    ]
    told = {rule["message"] for rule in rules}
    for message in told:
        assert any(_is_about(case, message) for case in CASES), f"no case for: {message}"
    for case in CASES:
        assert any(_is_about(case, message) for message in told), f"no rule for: {case.name}"


def _is_about(case: Case, message: str) -> bool:
    return case.message in message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_validators_refuse_what_the_rules_refuse(case):
    parse_manifests(yaml.safe_dump(case.good))
    with pytest.raises(BadManifest, match=re.escape(case.message.split(" of ")[0][:12])):
        parse_manifests(yaml.safe_dump(case.bad))
