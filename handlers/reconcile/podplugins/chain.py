"""The plug-ins that a template names, one after the other. Pure, as far as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from matrixinfer.handlers.api.labels import PREFIX
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podplugins import PluginScope, PodPlugin, Target, configured
from matrixinfer.handlers.errors import BadPodPlugin
from matrixinfer.handlers.reconcile.podplugins.port import Mutation, PodContext, Table


class Link(NamedTuple):
    plugin: PodPlugin
    change: Mutation


def chain(plugins: Iterable[PodPlugin], table: Table) -> list[Link]:
    """Raises BadPodPlugin for one that there is not, or that does not understand what it is told."""
    return [Link(plugin, _made(plugin, table)) for plugin in plugins]


def _made(plugin: PodPlugin, table: Table) -> Mutation:
    factory = table.get((plugin.type, plugin.name))
    if factory is None:
        known = ", ".join(sorted(name for type_, name in table if type_ == plugin.type)) or "none"
        raise BadPodPlugin(f"plugin {plugin.name} of type {plugin.type} is not known to the handlers; known: {known}")
    try:
        return factory.make(configured(factory.config, plugin))
    except ValueError as error:
        raise BadPodPlugin(str(error)) from error


def changed(pod: Pod, links: Iterable[Link], context: PodContext) -> Pod:
    """As the chain makes it; who it is stays. Raises BadPodPlugin when a plug-in fails."""
    result = pod
    for link in links:
        if _is_meant(link.plugin.scope, context):
            result = _asked(link, result, context)
    if result is pod:
        return pod
    own = {name: value for name, value in pod.metadata.labels.items() if name.startswith(PREFIX)}
    identity = {
        "name": pod.metadata.name,
        "namespace": pod.metadata.namespace,
        "owner_references": pod.metadata.owner_references,
        "labels": result.metadata.labels | own,
    }
    return result.model_copy(update={"metadata": result.metadata.model_copy(update=identity)})


def _is_meant(scope: PluginScope, context: PodContext) -> bool:
    if scope.roles and context.role not in scope.roles:
        return False
    return scope.target is Target.ALL or (scope.target is Target.ENTRY) == context.is_entry


def _asked(link: Link, pod: Pod, context: PodContext) -> Pod:
    name = link.plugin.name
    try:
        result = link.change(pod, context)
    except Exception as error:  # somebody else's code: whatever it is, the ModelInfer's condition tells it
        raise BadPodPlugin(f"plugin {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(result, Pod):
        raise BadPodPlugin(f"plugin {name} returned {type(result).__name__}; expected a Pod")
    return result
