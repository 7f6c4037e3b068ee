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
DRAIN_SINCE = PREFIX + "drain-since"
"""Annotation of a Pod that gets no new work and is deleted when it is idle, or too late (RFC 3339)."""
REVISION = PREFIX + "revision"
"""Hash of the template that a pod was made from."""
