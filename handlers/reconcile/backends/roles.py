"""The roles of a backend's ModelInfer: one for each of its workers. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.backend import Backend, Worker
from matrixinfer.handlers.api.container import (
    Container,
    ExecAction,
    HttpGetAction,
    Lifecycle,
    LifecycleHandler,
    Probe,
    ResourceRequirements,
    VolumeMount,
)
from matrixinfer.handlers.api.durations import seconds
from matrixinfer.handlers.api.engines import BackendType
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import PodTemplate, PodTemplateMetadata, Role
from matrixinfer.handlers.api.podspec import PodSpec, Volume
from matrixinfer.handlers.reconcile.backends import agent, sglang, vllm
from matrixinfer.handlers.reconcile.backends.engine import Asked, EngineCommand
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.backends.security import ADAPTERS, ENGINE, POD, RUN, SHARED_MEMORY, TMP
from matrixinfer.handlers.reconcile.backends.weights import Weights, cache_of, weights_of

PROBE_EVERY_S = 10
_COMMANDS: Mapping[BackendType, Callable[[Asked], EngineCommand]] = {
    BackendType.SGLANG: sglang.command,
    BackendType.VLLM: vllm.command,
}
_LET_THE_AGENT_FINISH = (
    "sh",
    "-c",
    f"cd {agent.SIGNS_DIR}; n=0; until [ -e stopping ] || [ $n -ge 10 ]; do n=$((n+1)); sleep 0.2; done; "
    "while [ -e stopping ] && ! [ -e finished ]; do sleep 0.2; done",
)
"""All containers of a Pod are asked to stop at once: the engine's waits for the agent's. Where the agent does not stop,
it is the engine alone that starts again."""


def roles_of(model: Model, backend: Backend, platform: Platform) -> tuple[Role, ...]:
    return tuple(_role(model, backend, worker, platform) for worker in backend.roles)


def _role(model: Model, backend: Backend, worker: Worker, platform: Platform) -> Role:
    own = {labels.MODEL: model.metadata.name, labels.BACKEND: backend.name}
    name, replicas = worker.type.value, worker.replicas
    if backend.type not in _COMMANDS:
        container = agent.with_engine(model, backend, worker, platform)
        volumes = (cache_of(backend)[0],) if backend.cache_uri else ()
        spec = _pod(backend, worker, containers=(container,), volumes=volumes)
        return Role(name=name, replicas=replicas, entry_template=_template(own, spec, answers=True))
    weights = weights_of(backend, platform)
    asked = Asked(model, backend, worker, weights.path)
    server = _Server(asked, platform, weights, _COMMANDS[backend.type](asked))
    return Role(
        name=name,
        replicas=replicas,
        entry_template=_template(own, server.first(), answers=True),
        worker_replicas=worker.pods - 1,
        worker_template=_template(own, server.further(), answers=False) if worker.pods > 1 else None,
    )


def _template(own: dict[str, str], spec: PodSpec, *, answers: bool) -> PodTemplate:
    with_agent = {labels.AGENT: "true"} if answers else {}
    return PodTemplate(metadata=PodTemplateMetadata(labels=own | with_agent), spec=spec)


@dataclass(frozen=True)
class _Server:
    """The Pods of one role whose engine runs in a container of its own."""

    asked: Asked
    platform: Platform
    weights: Weights
    command: EngineCommand

    def first(self) -> PodSpec:
        """The one that takes requests: the engine, and the agent beside it."""
        backend = self.asked.backend
        health = HttpGetAction(path=self.command.health_path, port=self.command.port)
        engine = self._engine(
            self.command.first,
            mounts=(ADAPTERS.mount.model_copy(update={"read_only": True}), RUN.mount),
            ports=self.command.ports,
            lifecycle=Lifecycle(pre_stop=LifecycleHandler(exec=ExecAction(command=_LET_THE_AGENT_FINISH))),
            **_probes(backend, health),
        )
        beside = agent.beside(self.asked.model, backend, self.platform, self.command.agent_config)
        volumes = (*self.weights.volumes, SHARED_MEMORY.volume, ADAPTERS.volume, RUN.volume, TMP.volume)
        return self._pod((engine, beside), volumes)

    def further(self) -> PodSpec:
        """Another machine of the same engine: it has no door, and lives and dies with the first."""
        temporary = (TMP.volume,) if self.weights.fetching else ()
        volumes = (*self.weights.volumes, SHARED_MEMORY.volume, *temporary)
        return self._pod((self._engine(self.command.others),), volumes)

    def _engine(self, command: tuple[str, ...], *, mounts: tuple[VolumeMount, ...] = (), **fields: Any) -> Container:
        """Any: fields of a Container."""
        backend, worker = self.asked.backend, self.asked.worker
        preset = {BackendType.SGLANG: self.platform.sglang_image, BackendType.VLLM: self.platform.vllm_image}
        read_only = tuple(mount.model_copy(update={"read_only": True}) for mount in self.weights.mounts)
        asks = worker.resources.limits or worker.resources.requests
        return Container(
            name="engine",
            image=worker.image or backend.image or preset[backend.type],
            command=command,
            env=(*self.command.env, *backend.env, *worker.env),
            env_from=backend.env_from,
            resources=worker.resources if asks else ResourceRequirements(limits={"nvidia.com/gpu": "1"}),
            volume_mounts=(*read_only, SHARED_MEMORY.mount, *mounts),
            security_context=worker.security_context or ENGINE,
            **fields,
        )

    def _pod(self, containers: tuple[Container, ...], volumes: tuple[Volume, ...]) -> PodSpec:
        fetching = self.weights.fetching
        return _pod(
            self.asked.backend, self.asked.worker, containers=containers, volumes=volumes, init_containers=fetching
        )


def _probes(backend: Backend, health: HttpGetAction) -> dict[str, Probe]:
    """Loading may take long; later a minute of silence is a crash."""
    tries = max(1, math.ceil(seconds(backend.startup_timeout) / PROBE_EVERY_S))
    probe = Probe(http_get=health, period_seconds=PROBE_EVERY_S, timeout_seconds=5)
    return {
        "startup_probe": probe.model_copy(update={"failure_threshold": tries}),
        "readiness_probe": probe,
        "liveness_probe": probe.model_copy(update={"failure_threshold": 6}),
    }


def _pod(
    backend: Backend,
    worker: Worker,
    *,
    containers: tuple[Container, ...],
    volumes: tuple[Volume, ...],
    init_containers: tuple[Container, ...] = (),
) -> PodSpec:
    return PodSpec(
        containers=containers,
        init_containers=init_containers,
        volumes=volumes,
        termination_grace_period_seconds=agent.GRACE_S,
        security_context=POD if volumes else None,
        node_selector=worker.node_selector,
        affinity=worker.affinity,
        tolerations=worker.tolerations,
        image_pull_secrets=backend.image_pull_secrets,
        service_account_name=backend.service_account_name,
        scheduler_name=backend.scheduler_name,
        runtime_class_name=backend.runtime_class_name or None,
    )
