"""The one table of the plug-ins that change Pods, by type and name. What each does: docs/groups.md.

Those of other distributions come by the entry point group `matrixinfer.pod_plugins`: the name is the plug-in's, the
object a `Factory`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from matrixinfer.handlers.api.podplugins import BUILT_IN_CONFIGS
from matrixinfer.handlers.errors import BadPodPlugin
from matrixinfer.handlers.reconcile.podplugins.lws_standard_labels import lws_standard_labels
from matrixinfer.handlers.reconcile.podplugins.pod_metadata import pod_metadata
from matrixinfer.handlers.reconcile.podplugins.port import Factory, Mutation, Table

GROUP = "matrixinfer.pod_plugins"

_MAKERS: dict[str, Callable[[Any], Mutation]] = {  # Any: each takes its own configuration
    "lws-standard-labels": lws_standard_labels,
    "pod-metadata": pod_metadata,
}

BUILT_IN: Table = {("BuiltIn", name): Factory(config, _MAKERS[name]) for name, config in BUILT_IN_CONFIGS.items()}


def installed() -> Table:
    """The built-in plug-ins and those of other distributions. Raises BadPodPlugin, naming the entry point."""
    points = entry_points(group=GROUP)
    return {**BUILT_IN, **{("Installed", point.name): _load(point) for point in points}}


def _load(point: EntryPoint) -> Factory:
    told = f"entry point {point.name!r} = {point.value!r} of {point.group}"
    try:
        factory = point.load()
    except (ImportError, AttributeError) as error:
        raise BadPodPlugin(f"{told} cannot be loaded ({error}); reinstall its package") from error
    if not isinstance(factory, Factory):
        raise BadPodPlugin(f"{told}: expected a Factory, got {type(factory).__name__}")
    return factory
