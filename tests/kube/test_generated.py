"""Our validators and a CRD server of today say the same of any object: of one that is right, and of one with a field
that may be wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.api.manifests import read_manifest
from matrixinfer.handlers.api.meta import DEFAULT_NAMESPACE, Resource
from matrixinfer.handlers.api.registry import KINDS, Kind
from matrixinfer.handlers.errors import BadManifest
from support.kube import ControlPlane
from support.resource_strategies import of_type

OURS = [kind for kind in KINDS.values() if kind.api_version.startswith("matrixinfer.ai/")]
SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
ODD: list[Any] = [
    *("", "Bad Name", "a" * 300, "0s", "9999999h", "/../x", "é", "a b", "-a", "a-", ".", "A", "5%", "101%"),
    *(-1, 0, 101, 70_000, 2**31, 2**40, 1.5, True),
    *([], {}),
]
Body = dict[str, Any]
Path = tuple[str | int, ...]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def server(control_plane: ControlPlane) -> ControlPlane:
    if not control_plane.knows_cel:
        pytest.skip("these assets have no CRD server that knows CEL")
    return control_plane


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
@SOME
@given(st.data())
def test_what_the_validators_let_in_the_server_lets_in(server: ControlPlane, kind: Kind, data: st.DataObject) -> None:
    body = as_asked(data.draw(of_type(kind.type)))
    assert refused_by_server(server, kind, body) == "", body


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
@SOME
@given(st.data())
def test_what_one_of_them_refuses_the_other_refuses(server: ControlPlane, kind: Kind, data: st.DataObject) -> None:
    body = as_asked(data.draw(of_type(kind.type)))
    *above, last = data.draw(st.sampled_from(list(places(body["spec"], ("spec",)))))
    holder: Any = body
    for step in above:
        holder = holder[step]
    value = holder[last]
    twice = [[*value, value[0]]] if isinstance(value, list) and value else []
    holder[last] = data.draw(st.sampled_from([*twice, *ODD]))
    ours, theirs = refused_by_us(body), refused_by_server(server, kind, body)
    assert bool(ours) == bool(theirs), f"{above} {last}: {ours!r} and {theirs!r}"


def as_asked(resource: Resource) -> Body:
    """With nothing that only a cluster says."""
    body = json.loads(json.dumps(resource.to_json()))
    body["metadata"] = {"name": body["metadata"]["name"], "namespace": DEFAULT_NAMESPACE}
    body.pop("status", None)
    return dict(body)


def places(value: Any, path: Path) -> Iterator[Path]:
    """Any: JSON. Of everything below `value`."""
    yield path
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in below:
        yield from places(part, (*path, name))


def refused_by_us(body: Body) -> str:
    try:
        read_manifest(body, DEFAULT_NAMESPACE, where="")
    except BadManifest as error:
        return error.problems[0]
    return ""


def refused_by_server(server: ControlPlane, kind: Kind, body: Body) -> str:
    try:
        server.ask("POST", f"/apis/{kind.api_version}/namespaces/default/{kind.plural}?dryRun=All", body)
    except HTTPError as error:
        return str(json.loads(error.read())["message"])
    return ""
