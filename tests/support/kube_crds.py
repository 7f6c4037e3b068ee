"""CRDs of our kinds that take whatever we send: for tests of the client, not of the schemas."""

from __future__ import annotations

from typing import Any

from matrixinfer.handlers.api.meta import GROUP_VERSION
from matrixinfer.handlers.api.registry import KINDS, Kind


def simple_crds() -> list[dict[str, Any]]:
    return [_crd(kind) for kind in KINDS.values() if kind.api_version == GROUP_VERSION]


def _crd(kind: Kind) -> dict[str, Any]:
    group, version = GROUP_VERSION.split("/")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "listKind": f"{kind.name}List",
                "shortNames": list(kind.short_names),
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }
