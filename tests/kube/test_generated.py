"""Any object that our validators let in, a CRD server of today lets in too: no schema or rule is stricter than they."""

from __future__ import annotations

from typing import Any
from urllib.error import HTTPError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import KINDS, Kind
from support.kube import ControlPlane
from support.resource_strategies import of_type

OURS = [kind for kind in KINDS.values() if kind.api_version.startswith("matrixinfer.ai/")]
SOME = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
@SOME
@given(st.data())
def test_what_the_validators_let_in_the_server_lets_in(
    control_plane: ControlPlane, kind: Kind, data: st.DataObject
) -> None:
    if not control_plane.knows_cel:
        pytest.skip("these assets have no CRD server that knows CEL")
    body = as_asked(data.draw(of_type(kind.type)))
    path = f"/apis/{kind.api_version}/namespaces/default/{kind.plural}"
    try:
        control_plane.ask("POST", f"{path}?dryRun=All", body)
    except HTTPError as error:
        raise AssertionError(f"{error.read().decode()} of {body}") from error


def as_asked(resource: Resource) -> dict[str, Any]:
    """Any: a manifest. With a short name of its own, where that is allowed, and nothing that only a cluster says."""
    body = resource.to_json()
    body["metadata"] = {"name": body["metadata"]["name"], "namespace": "default"}
    body.pop("status", None)
    return body
