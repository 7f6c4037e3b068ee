"""vLLM in its container: `python3 -m vllm.entrypoints.openai.api_server` (flags of 0.32, looked up in its engine
arguments). Several machines by its own launcher: the first one answers, the others are headless."""

from __future__ import annotations

from typing import Any

from matrixinfer.handlers.api.backend import WorkerType
from matrixinfer.handlers.api.container import ContainerPort, EnvVar
from matrixinfer.handlers.api.engines import ConnectorType
from matrixinfer.handlers.reconcile.backends.engine import (
    HOST_IP,
    KV_EVENTS_PORT,
    POD_IP,
    RENDEZVOUS_PORT,
    Asked,
    EngineCommand,
)
from matrixinfer.handlers.reconcile.backends.flags import merged, words

PORT = 8000
NIXL_PORT = 5600
_PARALLEL = frozenset({"tensor-parallel-size", "tp", "pipeline-parallel-size", "pp", "data-parallel-size", "dp"})
_CONNECTORS: dict[ConnectorType, str] = {
    "nixl": "NixlConnector",
    "mooncake": "MooncakeConnector",
    "lmcache": "LMCacheConnectorV1",
}


def command(asked: Asked) -> EngineCommand:
    argv = ("python3", "-m", "vllm.entrypoints.openai.api_server", *words(_config(asked)))
    nodes = asked.worker.pods
    rendezvous = ("--nnodes", str(nodes), "--master-addr", "$(ENTRY_ADDRESS)", "--master-port", str(RENDEZVOUS_PORT))
    argv += rendezvous if nodes > 1 else ()
    agent_config: dict[str, Any] = {
        "base_url": f"http://127.0.0.1:{PORT}",
        "kv_events": f"tcp://127.0.0.1:{KV_EVENTS_PORT}",
    }
    if asked.worker.type is not WorkerType.SERVER:
        agent_config |= {"disaggregation": asked.worker.type.value, "connector": asked.backend.connector}
    return EngineCommand(
        first=(*argv, "--node-rank", "0") if nodes > 1 else argv,
        others=(*argv, "--node-rank", "$(WORKER_INDEX)", "--headless"),
        port=PORT,
        health_path="/health",
        agent_config=agent_config,
        ports=(ContainerPort(name="http", container_port=PORT),),
        env=(POD_IP, HOST_IP, *_environment(asked)),
    )


def _config(asked: Asked) -> dict[str, Any]:
    backend, worker = asked.backend, asked.worker
    own: dict[str, Any] = {
        "model": asked.weights_path,
        "served-model-name": asked.model.served_name,
        "host": "0.0.0.0",
        "port": PORT,
        "kv-events-config": {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "topic": "kv-events",
            "endpoint": f"tcp://*:{KV_EVENTS_PORT}",
        },
    }
    users = merged(backend.config, worker.config)
    if not _PARALLEL & users.keys():
        own |= {"tensor-parallel-size": asked.gpus} if asked.gpus > 1 else {}
        own |= {"pipeline-parallel-size": worker.pods} if worker.pods > 1 else {}
    if backend.lora_adapters:
        own["enable-lora"] = True
    if worker.type is not WorkerType.SERVER:
        own["kv-transfer-config"] = {"kv_connector": _CONNECTORS[backend.connector], "kv_role": _kv_role(asked)}
    return own | users


def _kv_role(asked: Asked) -> str:
    """Only mooncake's two sides differ."""
    if asked.backend.connector != "mooncake":
        return "kv_both"
    return "kv_producer" if asked.worker.type is WorkerType.PREFILL else "kv_consumer"


def _environment(asked: Asked) -> tuple[EnvVar, ...]:
    told: dict[str, str] = {}
    if asked.backend.lora_adapters:
        told["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    if asked.backend.is_split and asked.backend.connector == "nixl":
        told |= {"VLLM_NIXL_SIDE_CHANNEL_HOST": "$(POD_IP)", "VLLM_NIXL_SIDE_CHANNEL_PORT": str(NIXL_PORT)}
    if asked.backend.is_split and asked.backend.connector == "lmcache":
        told["LMCACHE_TRACK_USAGE"] = "false"
    return tuple(EnvVar(name=name, value=value) for name, value in told.items())
