"""What is sent to the API server: paths and bodies, pure."""

from __future__ import annotations

from typing import Any

from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import KINDS, Kind

SPEC_MANAGER = "matrixinfer"
STATUS_MANAGER = "matrixinfer-status"
"""Another one than for the spec: a server older than 1.22 does not tell the two apart, and an apply of the spec would
take the status away."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_OURS = ("name", "namespace", "uid", "labels", "annotations", "ownerReferences")

Body = dict[str, Any]


def collection_path(kind: Kind, namespace: str | None = None) -> str:
    """Of one namespace, or of all."""
    version = kind.api_version
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/{kind.plural}" if namespace is None else f"{root}/namespaces/{namespace}/{kind.plural}"


def object_path(kind: Kind, namespace: str, name: str, subresource: str = "") -> str:
    path = f"{collection_path(kind, namespace)}/{name}"
    return f"{path}/{subresource}" if subresource else path


def path_of(resource: Resource, subresource: str = "") -> str:
    kind, namespace, name = resource.key
    return object_path(KINDS[kind], namespace, name, subresource)


def applied_body(resource: Resource) -> Body:
    """All that we want of the object and nothing else: what an apply no longer names, the server removes. A uid in it
    makes the server refuse another object of this name."""
    body = resource.to_json()
    body.pop("status", None)
    body["metadata"] = {name: value for name, value in body["metadata"].items() if name in _OURS and value}
    return body


def status_body(resource: Resource, version: str) -> Body:
    """The server refuses it for another version of the object."""
    body = resource.to_json()
    named = {name: value for name, value in body["metadata"].items() if name in ("name", "namespace", "uid") and value}
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": named | {"resourceVersion": version},
        "status": body.get("status", {}),
    }


def delete_options(uid: str | None) -> Body:
    """What is owned goes by the garbage collector, after the object; a Pod's own grace is kept."""
    options: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    return options | {"preconditions": {"uid": uid}} if uid else options


def is_still_there(deleted: Body) -> bool:
    """After a delete was accepted: does the object wait for its grace or for a finalizer? The answer to a delete is the
    object, or a Status when it is gone."""
    if deleted.get("kind") == "Status":
        return False
    metadata = deleted["metadata"]
    if not metadata.get("deletionTimestamp"):
        return False
    return bool(metadata.get("finalizers")) or metadata.get("deletionGracePeriodSeconds", 0) > 0
