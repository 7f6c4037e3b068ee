"""One CustomResourceDefinition for each kind of ours."""

from __future__ import annotations

from typing import Any

from matrixinfer.handlers.api.crds.columns import COLUMNS
from matrixinfer.handlers.api.crds.schema import Schema, structural
from matrixinfer.handlers.api.meta import GROUP_VERSION
from matrixinfer.handlers.api.registry import KINDS, Kind

Manifest = dict[str, Any]
GROUP, _, VERSION = GROUP_VERSION.partition("/")
CATEGORY = "matrixinfer"
"""`kubectl get matrixinfer` shows all of them."""

_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.labelSelector",
}


def our_kinds() -> list[Kind]:
    return [kind for kind in KINDS.values() if kind.api_version == GROUP_VERSION]


def rendered(kind: Kind) -> Manifest:
    subresources: Manifest = {"status": {}}
    if kind.name == "ModelInfer":
        subresources["scale"] = _SCALE
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _whole(kind)},
        "subresources": subresources,
        "additionalPrinterColumns": [
            *({"name": one.name, "type": one.type, "jsonPath": one.path} for one in COLUMNS[kind.name]),
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    names: Manifest = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
    }
    names |= {"categories": [CATEGORY]}
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _whole(kind: Kind) -> Schema:
    """Metadata is the server's own business; of a status nothing is required."""
    schema = structural(kind.type)
    properties = schema["properties"] | {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    whole = schema | {"properties": properties, "required": ["spec"]}
    description = (kind.type.__doc__ or "").strip()
    return whole | ({"description": description} if description else {})
