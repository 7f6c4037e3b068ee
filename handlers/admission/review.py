"""An AdmissionReview of the API server becomes its answer. Pure: a dry run is answered like any other.

Both webhooks refuse what the types refuse. The mutating one comes before the server checks the schema, so that people
read sentences that name each field; the validating one sees what other webhooks have made of the object.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from matrixinfer.handlers.admission.defaults import additions
from matrixinfer.handlers.admission.errors import NoReview
from matrixinfer.handlers.api.manifests import read_manifest
from matrixinfer.handlers.api.meta import DEFAULT_NAMESPACE, GROUP_VERSION, Resource
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.errors import BadManifest

Body = dict[str, Any]
API_VERSION = "admission.k8s.io/v1"
_CHECKED_METADATA = ("name", "namespace", "labels", "annotations", "ownerReferences")
"""The rest is the server's: it has checked it, or made it itself."""


def validated(review: object) -> Body:
    """The whole answer. Raises NoReview."""
    return _answered(review, lambda _, __: {})


def mutated(review: object) -> Body:
    """As `validated`, with a JSON patch that writes defaults out; a second time there is none. Raises NoReview."""
    return _answered(review, _patch)


def _answered(review: object, further: Callable[[Resource, Body], Body]) -> Body:
    request = _request(review)
    response: Body = {"uid": request["uid"], "allowed": True}
    if _is_ours_to_judge(request):
        body = request["object"]
        try:
            response |= further(read_manifest(_as_a_person_wrote(body), _namespace(request), where=""), body)
        except BadManifest as error:
            response |= {"allowed": False, "status": _status(error.problems)}
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def _request(review: object) -> Body:
    if not isinstance(review, dict) or review.get("apiVersion") != API_VERSION:
        raise NoReview(f"expected an AdmissionReview of {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise NoReview("expected a request with a uid in the AdmissionReview")
    return request


def _is_ours_to_judge(request: Body) -> bool:
    """Not what goes, nor what others own, nor an object whose content stays: one that an older version let in must
    still lose its finalizers."""
    if request.get("operation") not in ("CREATE", "UPDATE") or request.get("subResource"):
        return False
    body, before = request.get("object"), request.get("oldObject")
    if not isinstance(body, dict) or body.get("apiVersion") != GROUP_VERSION or body.get("kind") not in KINDS:
        return False
    if _metadata(body).get("deletionTimestamp"):
        return False
    return not (isinstance(before, dict) and before.get("spec") == body.get("spec"))


def _as_a_person_wrote(body: Body) -> Body:
    metadata = {name: value for name, value in _metadata(body).items() if name in _CHECKED_METADATA}
    if "name" not in metadata and "generateName" in _metadata(body):
        metadata["name"] = f"{_metadata(body)['generateName']}xxxxx"  # as long as the one that the server will make
    return body | {"metadata": metadata}


def _metadata(body: Body) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _namespace(request: Body) -> str:
    return str(request.get("namespace") or DEFAULT_NAMESPACE)


def _patch(resource: Resource, body: Body) -> Body:
    spec = getattr(resource, "spec", None)
    if spec is None:
        return {}
    steps = [{"op": "add", "path": path, "value": value} for path, value in additions(spec, body["spec"], "/spec")]
    if not steps:
        return {}
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(steps).encode()).decode()}


def _status(problems: list[str]) -> Body:
    causes = [{"reason": "FieldValueInvalid", "message": problem} for problem in problems]
    return {
        "status": "Failure",
        "reason": "Invalid",
        "code": 422,
        "message": "; ".join(problems),
        "details": {"causes": causes},
    }
