"""Labels, annotations and variables for the Pods of some roles, without saying them again in each template."""

from __future__ import annotations

from matrixinfer.handlers.api.container import Container
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podplugins import PodMetadataConfig
from matrixinfer.handlers.reconcile.podplugins.port import Mutation, PodContext


def pod_metadata(config: PodMetadataConfig) -> Mutation:
    def added(pod: Pod, context: PodContext) -> Pod:
        own = pod.metadata
        metadata = own.model_copy(
            update={"labels": config.labels | own.labels, "annotations": config.annotations | own.annotations}
        )
        containers = tuple(_told(container, config) for container in pod.spec.containers)
        return pod.model_copy(
            update={"metadata": metadata, "spec": pod.spec.model_copy(update={"containers": containers})}
        )

    return added


def _told(container: Container, config: PodMetadataConfig) -> Container:
    known = {variable.name for variable in container.env}
    missing = tuple(variable for variable in config.env if variable.name not in known)
    return container.model_copy(update={"env": container.env + missing})
