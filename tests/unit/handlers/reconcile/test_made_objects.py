"""What the reconcilers make of anything that the door lets in is itself let in, or can be sent: nobody's manifest is a
defect."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts import decode, encode
from matrixinfer.handlers.api.manifests import read_manifest
from matrixinfer.handlers.api.meta import DEFAULT_NAMESPACE, Resource
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.reconcile import model, modelinfer, modelroute, pool
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.infer.companions import Around
from support.resource_strategies import of_type

MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def is_let_in(resource: Resource) -> bool:
    """As the API server has it: by its JSON. Raises BadManifest."""
    body = json.loads(json.dumps(resource.to_json(), allow_nan=False))
    read_manifest(body, DEFAULT_NAMESPACE, where="")
    return True


@MANY
@given(of_type(Model))
def test_what_a_model_stands_for(given_model: Model) -> None:
    asked = given_model.model_copy(update={"metadata": given_model.metadata.model_copy(update={"uid": "u"})})
    for child in model.children(asked, Platform(), {}):
        assert is_let_in(child)


@MANY
@given(of_type(ModelInfer), st.booleans())
def test_what_a_modelinfer_stands_for(given_infer: ModelInfer, by_volcano: bool) -> None:
    asked = given_infer.model_copy(update={"metadata": given_infer.metadata.model_copy(update={"uid": "u"})})
    around = Around(services=(), pod_groups=(), serves_pod_groups=by_volcano)
    for made in modelinfer.decide(asked, [], [], {}, now=0.0, around=around).applies:
        assert is_let_in(made)


@MANY
@given(of_type(ModelServer))
def test_what_a_modelserver_tells_the_gateways_and_dispatchers(server: ModelServer) -> None:
    for told in pool.contracts(server, [], {}).values():
        assert decode(encode(told), type(told)) == told


@MANY
@given(of_type(ModelRoute))
def test_what_a_modelroute_tells_the_gateways(route: ModelRoute) -> None:
    told = modelroute.compiled(route, {})
    assert decode(encode(told), type(told)) == told
