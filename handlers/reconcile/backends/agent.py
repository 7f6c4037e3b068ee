"""The runtime agent's container: with the engine inside, in front of a server far away, or beside an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from matrixinfer.handlers.api.backend import Backend, Worker, WorkerType
from matrixinfer.handlers.api.container import Container, EnvSource, EnvVar, VolumeMount
from matrixinfer.handlers.api.engines import BackendType
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.reconcile.backends.flags import Config
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.backends.security import ADAPTERS, AGENT_WITH_ENGINE, OURS, RUN, TMP
from matrixinfer.handlers.reconcile.backends.weights import FOLDER, VOLUME

NAME = "agent"
GRACE_S = 40
"""Longer than an agent's drain time (30 s), so that running answers end by themselves."""
SIGNS_DIR = RUN.mount.mount_path
"""Where the agent tells the engine beside it that it is stopping, and that it has finished."""


def agent(
    model: Model, backend: Backend, platform: Platform, config: Config, *, model_uri: str = "", **fields: Any
) -> Container:
    """Any: fields of a Container. The backend's own variables come last: they may set any other setting."""
    own = {
        "MATRIXINFER_AGENT_ENGINE": backend.type.value,
        "MATRIXINFER_AGENT_MODEL_URI": model_uri,
        "MATRIXINFER_AGENT_SERVED_MODEL": model.served_name,
        "MATRIXINFER_AGENT_ENGINE_CONFIG": json.dumps(config, sort_keys=True),
    }
    env = (*_variables(own), *platform.agent_variables(), *fields.pop("env", ()), *backend.env)
    return Container(
        name=NAME,
        image=platform.agent_image,
        command=("matrixinfer", "agent"),
        env=env,
        env_from=backend.env_from,
        **fields,
    )


def with_engine(model: Model, backend: Backend, worker: Worker, platform: Platform) -> Container:
    """The engine runs inside the agent, which fetches the weights itself."""
    config = dict(backend.config) | dict(worker.config)
    if worker.type is not WorkerType.SERVER:
        config["disaggregation"] = worker.type.value
    fields: dict[str, Any] = {"security_context": worker.security_context or AGENT_WITH_ENGINE, "env": worker.env}
    if backend.cache_uri:
        mount = VolumeMount(name=VOLUME, mount_path=FOLDER)
        fields |= {"volume_mounts": (mount,), "env": (*_variables({_CACHE_DIR: FOLDER}), *worker.env)}
    if backend.type is BackendType.OPENAI and backend.external is not None:
        config = {"base_url": backend.external.base_url, "model": backend.external.model} | config
        if backend.external.insecure_skip_verify:
            config["verify"] = False
        fields["env"] = (*_api_key(backend), *fields["env"])
    return agent(model, backend, platform, config, model_uri=backend.model_uri, resources=worker.resources, **fields)


def beside(model: Model, backend: Backend, platform: Platform, config: Config) -> Container:
    """It drives an engine of the same Pod."""
    told = {_CACHE_DIR: ADAPTERS.mount.mount_path, "MATRIXINFER_AGENT_SIGNS_DIR": SIGNS_DIR}
    return agent(
        model,
        backend,
        platform,
        config,
        env=_variables(told),
        volume_mounts=(ADAPTERS.mount, RUN.mount, TMP.mount),
        security_context=OURS,
    )


_CACHE_DIR = "MATRIXINFER_AGENT_CACHE_DIR"


def _api_key(backend: Backend) -> tuple[EnvVar, ...]:
    secret = backend.external.api_key_secret if backend.external is not None else None
    if secret is None:
        return ()
    source = EnvSource(secret_key_ref={"name": secret.name, "key": secret.key})
    return (EnvVar(name="OPENAI_API_KEY", value_from=source),)


def _variables(values: Mapping[str, str]) -> tuple[EnvVar, ...]:
    return tuple(EnvVar(name=name, value=value) for name, value in values.items())
