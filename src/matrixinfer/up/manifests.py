"""Which models `up` serves: the default one, simulated ones, or those of a file.

A manifest is read as the cluster reads it, so that what is wrong in it is said before anything starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from matrixinfer.handlers.api.engines import BackendType
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.errors import BadManifest
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

    Raises BadOptions for flags that do not go together, an engine that has no model of its own, or a file that the
    cluster would refuse.
    """
    if text is not None:
        if engine is not None or replicas is not None:
            raise BadOptions("-f says everything about the models; leave out --engine and --replicas")
        _resources(text)
        return text
    if engine is not None and engine.lower() != SIMULATED:
        raise BadOptions(f"--engine {engine}: expected {SIMULATED!r}; for other engines write a Model and use -f")
    if engine is None and replicas is None:
        return default_manifest()
    model = yaml.safe_load(default_manifest()) if engine is None else _SIMULATED_MODEL
    return yaml.safe_dump(_scaled(model, replicas or 1), sort_keys=False)


def default_manifest() -> str:
    """A small real model that runs on any CPU."""
    return resources.files("matrixinfer.up").joinpath("smollm2.yaml").read_text()


def names(manifest: str) -> list[Named]:
    """The objects that a manifest describes. This and the following raise BadOptions for one that is not valid."""
    return [Named(one.kind, one.metadata.namespace, one.metadata.name) for one in _resources(manifest)]


def served_models(manifest: str) -> list[str]:
    """The names that clients write: of the Models that have at least one replica, and of the ModelRoutes."""
    routes = [resource for resource in _resources(manifest) if isinstance(resource, ModelRoute)]
    models = [model.served_name for model in _models(manifest) if _pods(model)]
    return [*models, *[route.spec.model_name for route in routes]]


def wanted_pods(manifest: str) -> dict[tuple[str, str], int]:
    """Namespace and name of each ModelInfer, of those that Models make too → how many pods it starts with."""
    wanted = {
        (model.metadata.namespace, model.child_name(backend)): backend.min_replicas
        for model in _models(manifest)
        for backend in model.spec.backends
    }
    infers = [resource for resource in _resources(manifest) if isinstance(resource, ModelInfer)]
    return wanted | {(infer.metadata.namespace, infer.metadata.name): infer.spec.pods for infer in infers}


def weights(manifest: str) -> list[str]:
    """Where the weights of the embedded engine come from: what is fetched before it starts."""
    uris = [
        backend.model_uri
        for model in _models(manifest)
        for backend in model.spec.backends
        if backend.type == BackendType.LLAMA_CPP
    ]
    return list(dict.fromkeys(uris))


def _models(manifest: str) -> list[Model]:
    return [resource for resource in _resources(manifest) if isinstance(resource, Model)]


def _resources(manifest: str) -> list[Resource]:
    try:
        return parse_manifests(manifest)
    except BadManifest as error:
        raise BadOptions("\n  ".join(["the manifest is not valid:", *error.problems])) from error


def _pods(model: Model) -> int:
    return sum(backend.min_replicas for backend in model.spec.backends)


def _scaled(model: dict[str, Any], replicas: int) -> dict[str, Any]:
    """The same built-in model; every backend has exactly so many replicas."""
    bounds = {"minReplicas": replicas, "maxReplicas": replicas}
    return model | {"spec": {"backends": [backend | bounds for backend in model["spec"]["backends"]]}}
