"""SGLang in its container: `python3 -m sglang.launch_server` (flags of 0.5.23, looked up in its server arguments).

Prefill and decode meet by SGLang's own bootstrap over mooncake or nixl, or are two ordinary engines on one LMCache
server: SGLang refuses both at once.
"""

from __future__ import annotations

from typing import Any

from matrixinfer.handlers.api.backend import WorkerType
from matrixinfer.handlers.api.container import ContainerPort
from matrixinfer.handlers.reconcile.backends.engine import (
    HOST_IP,
    KV_EVENTS_PORT,
    POD_IP,
    RENDEZVOUS_PORT,
    Asked,
    EngineCommand,
)
from matrixinfer.handlers.reconcile.backends.flags import merged, words

PORT = 30000
BOOTSTRAP_PORT = 8998
LMCACHE_FILE = "/tmp/lmcache.yaml"
_PARALLEL = frozenset({"tp", "tp-size", "tensor-parallel-size", "pp-size", "pipeline-parallel-size", "dp-size"})
_SETTINGS = r"mp_host: %s\nmp_port: %s\n"
_WITH_LMCACHE = (
    "sh",
    "-c",
    f'printf \'{_SETTINGS}\' "${{LMCACHE_HOST:-$HOST_IP}}" "${{LMCACHE_PORT:-5556}}" > {LMCACHE_FILE}'
    ' && exec "$0" "$@"',
)
"""Its address is in a file only. Without another one: the server of the machine."""


def command(asked: Asked) -> EngineCommand:
    own = _config(asked)
    argv = ("python3", "-m", "sglang.launch_server", *words(own))
    if "enable-lmcache" in own:
        argv = (*_WITH_LMCACHE, *argv)
    nodes = asked.worker.pods
    rendezvous = ("--nnodes", str(nodes), "--dist-init-addr", f"$(ENTRY_ADDRESS):{RENDEZVOUS_PORT}")
    argv += rendezvous if nodes > 1 else ()
    agent_config: dict[str, Any] = {
        "base_url": f"http://127.0.0.1:{PORT}",
        "kv_events": f"tcp://127.0.0.1:{KV_EVENTS_PORT}",
    }
    if asked.worker.type is not WorkerType.SERVER:
        agent_config |= {"disaggregation": asked.worker.type.value, "connector": asked.backend.connector}
    ports = [ContainerPort(name="http", container_port=PORT)]
    if _bootstraps(asked) and asked.worker.type is WorkerType.PREFILL:
        agent_config["bootstrap_port"] = BOOTSTRAP_PORT
        ports.append(ContainerPort(name="bootstrap", container_port=BOOTSTRAP_PORT))
    return EngineCommand(
        first=(*argv, "--node-rank", "0") if nodes > 1 else argv,
        others=(*argv, "--node-rank", "$(WORKER_INDEX)"),
        port=PORT,
        health_path="/health",
        agent_config=agent_config,
        ports=tuple(ports),
        env=(POD_IP, HOST_IP),
    )


def _config(asked: Asked) -> dict[str, Any]:
    backend, worker = asked.backend, asked.worker
    own: dict[str, Any] = {
        "model-path": asked.weights_path,
        "served-model-name": asked.model.served_name,
        "host": "0.0.0.0",
        "port": PORT,
        "enable-metrics": True,
        "enable-cache-report": True,
        "kv-events-config": {"publisher": "zmq", "topic": "kv-events", "endpoint": f"tcp://*:{KV_EVENTS_PORT}"},
    }
    users = merged(backend.config, worker.config)
    if not _PARALLEL & users.keys() and asked.gpus * worker.pods > 1:
        own["tp-size"] = asked.gpus * worker.pods
    if backend.lora_adapters:  # loaded later, so that the engine must be told how large they may be
        own |= {"enable-lora": True, "max-lora-rank": 64, "lora-target-modules": ["all"]}
    if worker.type is not WorkerType.SERVER:
        own |= _split(asked)
    return own | users


def _split(asked: Asked) -> dict[str, Any]:
    if not _bootstraps(asked):
        return {"enable-lmcache": True, "lmcache-config-file": LMCACHE_FILE}
    own: dict[str, Any] = {
        "disaggregation-mode": asked.worker.type.value,
        "disaggregation-transfer-backend": "mooncake",
    }
    return own | {"disaggregation-bootstrap-port": BOOTSTRAP_PORT}


def _bootstraps(asked: Asked) -> bool:
    return asked.backend.is_split and asked.backend.connector == "sglang"
