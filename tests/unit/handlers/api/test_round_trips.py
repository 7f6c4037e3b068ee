"""What is written comes back: every kind, through JSON as it is stored and through YAML as people have it."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Metadata, Resource
from matrixinfer.handlers.api.registry import KINDS
from support.resource_strategies import of_type, optional_fields, parts_of

TYPES = [kind.type for kind in KINDS.values()]
PARTS = list(dict.fromkeys(part for type_ in TYPES for part in parts_of(type_)))
SOME = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
FIRST = settings(
    max_examples=2000,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def as_applied(resource: Resource) -> Resource:
    """Without what only the cluster may say."""
    written = {"name", "namespace", "labels", "annotations", "owner_references"}
    metadata = Metadata(**{name: getattr(resource.metadata, name) for name in written})
    cleared = (
        {"status": type(resource).model_fields["status"].default} if "status" in type(resource).model_fields else {}
    )
    return resource.model_copy(update={"metadata": metadata, **cleared})


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.__name__)
@SOME
@given(st.data())
def test_an_object_survives_being_stored(type_: type[Resource], data: st.DataObject) -> None:
    resource = data.draw(of_type(type_))
    assert type_.read(json.loads(json.dumps(resource.to_json()))) == resource


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.__name__)
@SOME
@given(st.data())
def test_a_manifest_of_an_object_makes_the_same_object(type_: type[Resource], data: st.DataObject) -> None:
    resource = data.draw(of_type(type_))
    (again,) = parse_manifests(yaml.safe_dump(resource.to_json()))
    assert again == as_applied(resource)
    assert parse_manifests(yaml.safe_dump(again.to_json())) == [again]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_there_is_an_object_with_every_field_and_it_survives(part: type[BaseModel]) -> None:
    """The strategies reach all of them: a law that holds because a field is never there is none."""
    for name in optional_fields(part):
        default = part.model_fields[name].default

        def is_set(one: BaseModel, name: str = name, default: object = default) -> bool:
            return bool(getattr(one, name) != default)

        found = find(of_type(part, name), is_set, settings=FIRST)
        body = json.loads(found.model_dump_json(exclude_defaults=True, exclude_none=True))
        assert part.model_validate(body) == found
