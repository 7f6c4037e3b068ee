"""The names of our labels and the text that Kubernetes puts in front of them."""

from __future__ import annotations

PREFIX = "matrixinfer.ai/"

MODEL = PREFIX + "model"
BACKEND = PREFIX + "backend"
MODELINFER = PREFIX + "modelinfer"
AGENT = PREFIX + "agent"
"""`"true"` on pods in which a runtime agent works."""
GROUP_INDEX = PREFIX + "group-index"
ROLE = PREFIX + "role"
ROLE_INDEX = PREFIX + "role-index"
ENTRY = PREFIX + "entry"
"""`"true"` on the pod of a role instance that takes requests; workers have `"false"`."""
REVISION = PREFIX + "revision"
"""Of the whole template that a pod was made from: the name of a ControllerRevision without its ModelInfer's."""
ROLE_REVISION = PREFIX + "role-revision"
"""Hash of the role's part of it: tells whether a change of the template is one of this pod."""
DRAIN_SINCE = PREFIX + "drain-since"
"""Annotation of a Pod that gets no new work, and is deleted when it is idle or its time is over (RFC 3339)."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation by which people say what to keep: where some must go, those of the lowest cost go first."""
