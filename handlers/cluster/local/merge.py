"""What an API server does to an object that is applied: pure functions from JSON to JSON.

None of them changes its arguments; each returns the given `current` itself when there is nothing to write.
"""

from __future__ import annotations

from typing import Any

from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.errors import Conflicted

Body = dict[str, Any]

_OURS = ("labels", "annotations", "ownerReferences")
_NOT_CONTENT = ("apiVersion", "kind", "metadata", "status")


def created(desired: Body, *, uid: str, now: float) -> Body:
    """A new object; nobody but its status' writer may say its status."""
    metadata = _own_metadata(desired) | {"uid": uid, "generation": 1, "creationTimestamp": timestamp(now)}
    return _without_status(desired) | {"metadata": metadata}


def applied(current: Body, desired: Body) -> Body:
    """Raises Conflicted, see `Cluster.apply`."""
    check_uid(current, desired["metadata"].get("uid"))
    here = current["metadata"]
    if "deletionTimestamp" in here:
        raise Conflicted(f"{named(current)} is being deleted; apply it again when it is gone")
    content = _content(current, desired)
    filled = {name: value for name, value in here.items() if name not in _OURS}
    metadata = _own_metadata(desired) | filled
    if content != content_of(current):
        metadata["generation"] = here["generation"] + 1
    kept = {"status": current["status"]} if "status" in current else {}
    after = {"apiVersion": desired["apiVersion"], "kind": current["kind"], "metadata": metadata} | content | kept
    return current if after == current else after


def with_status(current: Body, status: Body, uid: str | None) -> Body:
    check_uid(current, uid)
    return current if current.get("status", {}) == status else current | {"status": status}


def marked_deleted(current: Body, *, now: float) -> Body:
    """Gone for its owners, still there for who runs it."""
    if "deletionTimestamp" in current["metadata"]:
        return current
    grace_s = current.get("spec", {}).get("terminationGracePeriodSeconds", 30)
    mark = {"deletionTimestamp": timestamp(now + grace_s), "deletionGracePeriodSeconds": grace_s}
    return current | {"metadata": current["metadata"] | mark}


def check_uid(current: Body, uid: str | None) -> None:
    """Raises Conflicted when the caller means another object of the same name; no uid means: whichever."""
    met = current["metadata"]["uid"]
    if uid and uid != met:
        raise Conflicted(f"{named(current)} is another object now: expected uid {uid}, met {met}")


def named(body: Body) -> str:
    return f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}"


def content_of(body: Body) -> Body:
    """The spec, or what a kind without one has in its place: the `data` of a ControllerRevision."""
    return {name: value for name, value in body.items() if name not in _NOT_CONTENT}


def _content(current: Body, desired: Body) -> Body:
    content = content_of(desired)
    if current["kind"] != "Pod":
        return content
    assigned = current["spec"].get("nodeName")
    if assigned:
        content = {"spec": content["spec"] | {"nodeName": assigned}}
    if content != content_of(current):
        raise Conflicted(f"the spec of {named(current)} cannot change; delete it and apply it anew")
    return content


def _own_metadata(desired: Body) -> Body:
    metadata = desired["metadata"]
    own = {"name": metadata["name"], "namespace": metadata["namespace"]}
    return own | {name: metadata[name] for name in _OURS if name in metadata}


def _without_status(desired: Body) -> Body:
    return {name: value for name, value in desired.items() if name != "status"}
