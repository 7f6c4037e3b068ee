"""Which models `up` serves: the default one, simulated ones, or those of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from matrixinfer.up.errors import BadOptions

SIMULATED = "simulated"

_SIMULATED_MODEL = {
    "apiVersion": "matrixinfer.ai/v1alpha1",
    "kind": "Model",
    "metadata": {"name": SIMULATED},
    "spec": {"backends": [{"name": "main", "type": "Simulated"}]},
}


@dataclass(frozen=True)
class Named:
    """An object's place in the cluster."""

    kind: str
    namespace: str
    name: str


def choose(text: str | None, engine: str | None, replicas: int | None) -> str:
    """The manifest to apply: that of the file (`text`), or a model on the wanted engine with so many replicas.

    Raises BadOptions for flags that do not go together, or an engine that has no model of its own.
    """
    if text is not None:
        if engine is not None or replicas is not None:
            raise BadOptions("-f says everything about the models; leave out --engine and --replicas")
        return text
    if engine is not None and engine.lower() != SIMULATED:
        raise BadOptions(f"--engine {engine}: expected {SIMULATED!r}; for other engines write a Model and use -f")
    documents = [_SIMULATED_MODEL] if engine is not None else _documents(default_manifest())
    return default_manifest() if engine is None and replicas is None else with_replicas(documents, replicas or 1)


def default_manifest() -> str:
    """A small real model that runs on any CPU."""
    return resources.files("matrixinfer.up").joinpath("smollm2.yaml").read_text()


def with_replicas(documents: list[dict[str, Any]], replicas: int) -> str:
    """The same objects; every backend of every Model has exactly so many replicas."""
    return yaml.safe_dump_all([_scaled(document, replicas) for document in documents], sort_keys=False)


def names(manifest: str) -> list[Named]:
    """The objects that a manifest describes, as far as it can be understood; the cluster says what is wrong."""
    found = []
    for document in _documents(manifest):
        metadata = document.get("metadata")
        if isinstance(metadata, dict) and metadata.get("name"):
            namespace = str(metadata.get("namespace") or "default")
            found.append(Named(str(document.get("kind")), namespace, str(metadata["name"])))
    return found


def served_models(manifest: str) -> list[str]:
    """The names that clients write, of the models that have at least one replica."""
    return [_served_name(model) for model in _models(manifest) if any(map(_replicas, _backends(model)))]


def wanted_pods(manifest: str) -> dict[tuple[str, str], int]:
    """Namespace and name of each Model → how many pods it starts with."""
    wanted: dict[tuple[str, str], int] = {}
    for model in _models(manifest):
        metadata = model.get("metadata") or {}
        place = (str(metadata.get("namespace") or "default"), str(metadata.get("name")))
        wanted[place] = sum(_replicas(backend) for backend in _backends(model))
    return wanted


def weights(manifest: str) -> list[str]:
    """Where the weights of the embedded engine come from: what is fetched before it starts."""
    uris = [
        str(backend.get("modelURI"))
        for model in _models(manifest)
        for backend in _backends(model)
        if backend.get("type") == "LlamaCpp" and backend.get("modelURI")
    ]
    return list(dict.fromkeys(uris))


def _documents(manifest: str) -> list[dict[str, Any]]:
    try:
        return [document for document in yaml.safe_load_all(manifest) if isinstance(document, dict)]
    except yaml.YAMLError as error:
        raise BadOptions(f"the manifest is not YAML: {error}") from error


def _models(manifest: str) -> Iterator[dict[str, Any]]:
    return (document for document in _documents(manifest) if document.get("kind") == "Model")


def _backends(model: dict[str, Any]) -> list[dict[str, Any]]:
    backends = (model.get("spec") or {}).get("backends")
    return [backend for backend in backends if isinstance(backend, dict)] if isinstance(backends, list) else []


def _served_name(model: dict[str, Any]) -> str:
    return str((model.get("spec") or {}).get("name") or (model.get("metadata") or {}).get("name"))


def _replicas(backend: dict[str, Any]) -> int:
    replicas = backend.get("minReplicas", 1)
    return replicas if isinstance(replicas, int) else 0


def _scaled(document: dict[str, Any], replicas: int) -> dict[str, Any]:
    if document.get("kind") != "Model":
        return document
    bounds = {"minReplicas": replicas, "maxReplicas": replicas}
    spec = document["spec"] | {"backends": [backend | bounds for backend in _backends(document)]}
    return document | {"spec": spec}
