"""One backend of a Model: an engine, its weights, its Pods, and how they are scaled and reached."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.container import EnvVar, ResourceRequirements
from matrixinfer.handlers.api.dispatch import Dispatch
from matrixinfer.handlers.api.durations import Duration
from matrixinfer.handlers.api.engines import (
    NEEDS_WEIGHTS,
    SERVERS,
    SPLITS,
    TAKES_ADAPTERS,
    BackendType,
    ConnectorType,
)
from matrixinfer.handlers.api.kubernetes import JsonObject, Passed
from matrixinfer.handlers.api.lora import LoraAdapters, check_names
from matrixinfer.handlers.api.meta import DnsLabel, DnsName, Flag, OptionalName, Part, Whole
from matrixinfer.handlers.api.patterns import BASE_URL, CACHE_URI, CLAIM_URI, IMAGE, MODEL_URI
from matrixinfer.handlers.api.rollout import RolloutStrategy
from matrixinfer.handlers.api.rules import Rule
from matrixinfer.handlers.api.tokenizer import Tokenizer


class WorkerType(StrEnum):
    """What the Pods of a role compute: whole requests, prompts, or answers."""

    SERVER = "server"
    PREFILL = "prefill"
    DECODE = "decode"


_CONNECTORS: dict[BackendType, tuple[ConnectorType, ...]] = {
    BackendType.SGLANG: ("sglang", "lmcache"),
    BackendType.VLLM: ("nixl", "mooncake", "lmcache"),
    BackendType.SIMULATED: ("sglang", "nixl", "mooncake", "lmcache", "http"),
}
"""The first is what a backend has that names none."""

_CLAIMS = "pvc://<claim>/<folder> needs the name of a PersistentVolumeClaim"
_FLAG = re.compile(r"-{0,2}[A-Za-z][A-Za-z0-9_.-]*")

SET_BY_US: dict[BackendType, frozenset[str]] = {
    BackendType.SGLANG: frozenset(
        {
            "model-path",
            "served-model-name",
            "host",
            "port",
            "nnodes",
            "node-rank",
            "dist-init-addr",
            "disaggregation-mode",
            "disaggregation-bootstrap-port",
            "enable-lmcache",
            "enable-lora",
            "kv-events-config",
        }
    ),
    BackendType.VLLM: frozenset(
        {
            "model",
            "served-model-name",
            "host",
            "port",
            "nnodes",
            "node-rank",
            "master-addr",
            "master-port",
            "headless",
            "kv-transfer-config",
            "enable-lora",
            "kv-events-config",
        }
    ),
}
"""Flags that follow from other fields: named twice, nobody could say which one holds."""


class Worker(Part):
    """The Pods of one role in each replica of the backend."""

    type: WorkerType = WorkerType.SERVER

    image: Annotated[str, Field(max_length=1024, pattern=IMAGE)] = ""
    """Of the engine; empty: the backend's."""

    replicas: Annotated[Whole, Field(ge=1, le=1000)] = 1
    """Instances of the role in each replica: `2` prefill and `3` decode make a group of five."""

    pods: Annotated[Whole, Field(ge=1, le=1000)] = 1
    """Pods of each instance; more than one where the engine does not fit on one machine."""

    resources: ResourceRequirements = ResourceRequirements()
    """Of the engine's container. Without any, SGLang and vLLM ask for one `nvidia.com/gpu`."""

    config: JsonObject = Field(default={})
    """Counts more than the backend's `config`, field by field."""

    env: tuple[EnvVar, ...] = ()
    """Behind the backend's."""

    node_selector: dict[str, str] = Field(default={})
    affinity: Passed | None = None
    tolerations: tuple[Passed, ...] = ()
    security_context: Passed | None = None
    """Instead of that of the engine's container: no privilege escalation, no capabilities."""


class SecretKey(Part):
    name: DnsName
    """A Secret of the Model's namespace."""
    key: Annotated[str, Field(min_length=1, max_length=253)]


class External(Part):
    """A server somewhere else that speaks OpenAI's protocol."""

    base_url: Annotated[str, Field(max_length=2048, pattern=BASE_URL)]
    """Up to and without `/chat/completions`, e.g. `https://example.com/v1`."""

    model: Annotated[str, Field(max_length=256)] = ""
    """The model's name there; empty: as the client said."""

    api_key_secret: SecretKey | None = None
    """Sent as the bearer token."""

    insecure_skip_verify: Flag = False
    """Takes any certificate of the server: for tests."""


class Backend(Part):
    RULES = (
        Rule(
            "!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas", "maxReplicas must be at least minReplicas"
        ),
        Rule(
            "!(self.type in ['LlamaCpp', 'SGLang', 'vLLM']) || (has(self.modelURI) && self.modelURI != '')",
            "a backend of this type needs a modelURI, e.g. file://…",
        ),
        Rule("(self.type == 'OpenAI') == has(self.external)", "external is for backends of type OpenAI, which need it"),
        Rule(
            "!has(self.workers) || size(self.workers) == 0"
            " || (size(self.workers) == 1 && self.workers[0].type == 'server')"
            " || (size(self.workers) == 2 && self.workers.exists_one(w, w.type == 'prefill')"
            " && self.workers.exists_one(w, w.type == 'decode'))",
            "expected workers of one type server, or one of type prefill and one of type decode",
        ),
        Rule(
            "self.type in ['SGLang', 'vLLM', 'Simulated'] || !has(self.workers)"
            " || self.workers.all(w, w.type == 'server')",
            "prefill and decode workers are for backends of type SGLang, vLLM and Simulated",
        ),
        Rule(
            "self.type in ['SGLang', 'vLLM'] || !has(self.workers) || self.workers.all(w, w.pods == 1)",
            "workers with several pods are for backends of type SGLang and vLLM",
        ),
        Rule(
            "self.type in ['SGLang', 'vLLM', 'Simulated'] || !has(self.loraAdapters) || size(self.loraAdapters) == 0",
            "loraAdapters are for backends of type SGLang, vLLM and Simulated",
        ),
        Rule(
            "!has(self.kvConnector) || (self.type == 'SGLang' ? self.kvConnector in ['sglang', 'lmcache'] :"
            " self.type == 'vLLM' ? self.kvConnector in ['nixl', 'mooncake', 'lmcache'] : self.type == 'Simulated')",
            "this kvConnector is none of the engine's",
        ),
        Rule(
            "[has(self.modelURI) ? self.modelURI : '', has(self.cacheURI) ? self.cacheURI : ''].all(uri,"
            f" !uri.startsWith('pvc://') || (uri.matches('{CLAIM_URI}') && size(uri.split('/')[2]) <= 253))",
            _CLAIMS,
        ),
    )

    name: DnsLabel
    """Part of the children's names: renaming a backend replaces it."""

    type: BackendType

    model_uri: Annotated[str, Field(max_length=2048, pattern=MODEL_URI)] = ""
    """Where the weights come from, as `scheme://…`; may be empty for engines without weights."""

    cache_uri: Annotated[str, Field(max_length=1024, pattern=CACHE_URI)] = ""
    """Where fetched weights are kept for the next Pod: `hostpath://<folder of the node>` or `pvc://<claim>/<folder>`.
    Empty: in each Pod for itself, and gone with it."""

    image: Annotated[str, Field(max_length=1024, pattern=IMAGE)] = ""
    """Of the engine; empty: what the platform is set to. Engines inside the agent have the agent's."""

    min_replicas: Annotated[Whole, Field(ge=0)] = 1
    """Replicas to start with, and the least that scaling leaves."""

    max_replicas: Annotated[Whole, Field(ge=0)] | None = None
    """The most that scaling makes; absent: as many as `minReplicas`."""

    workers: Annotated[tuple[Worker, ...], Field(max_length=2)] = ()
    """What each replica consists of; empty: one Pod that does everything."""

    scaling_cost: Annotated[Whole, Field(ge=0, le=1_000_000)] = 1
    """Of one replica, beside those of the other backends: what the model's `autoscalingPolicy` minimizes."""

    autoscaling_policy: OptionalName = ""
    """An AutoScalingPolicy of the namespace: this backend is scaled by it, apart from the others."""

    scale_to_zero_grace_period: Duration | None = None
    """With `minReplicas` 0: how long nothing may be asked for before the last replica goes. Absent: by the policy."""

    route_weight: Annotated[Whole, Field(ge=0, le=100)] = 100
    """Share of the model's requests, relative to the other backends'."""

    lora_adapters: LoraAdapters = ()
    """Loaded into the running Pods, and unloaded, without a restart. SGLang and vLLM must be started ready for them:
    the first one that a backend gets replaces its Pods."""

    kv_connector: ConnectorType | None = None
    """How a prompt's KV cache gets from prefill to decode workers; absent: `sglang` for SGLang, else `nixl`."""

    config: JsonObject = Field(default={})
    """The engine's own configuration, as it is. For SGLang and vLLM: flags of the command line without `--`, `true` for
    one without a value."""

    rollout_strategy: RolloutStrategy = RolloutStrategy()
    """Handed on to the backend's ModelInfer."""

    startup_timeout: Duration = "30m"
    """How long loading the model may take before the engine is started again."""

    env: tuple[EnvVar, ...] = ()
    """For the engine, the agent and what fetches the weights."""

    env_from: tuple[Passed, ...] = ()
    """As `env`, whole Secrets and ConfigMaps: credentials for the weights."""

    image_pull_secrets: tuple[Passed, ...] = ()
    service_account_name: OptionalName = ""
    scheduler_name: Annotated[str, Field(max_length=253)] = ""
    """Who places the Pods; empty: Kubernetes' own."""
    runtime_class_name: OptionalName = ""

    external: External | None = None
    """For type `OpenAI`: where it is."""

    dispatch: Dispatch = Dispatch()
    """Handed on to the backend's ModelServer."""

    tokenizer: Tokenizer | None = None
    """Handed on to the backend's ModelServer."""

    @property
    def roles(self) -> tuple[Worker, ...]:
        return self.workers or (Worker(),)

    @property
    def is_split(self) -> bool:
        return any(worker.type is not WorkerType.SERVER for worker in self.workers)

    @property
    def connector(self) -> ConnectorType:
        if self.kv_connector is not None:
            return self.kv_connector
        return "nixl" if self.type is BackendType.SIMULATED else _CONNECTORS[self.type][0]

    @property
    def pods(self) -> int:
        """Of one replica."""
        return sum(worker.replicas * worker.pods for worker in self.roles)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(f"maxReplicas {self.max_replicas} must be at least minReplicas {self.min_replicas}")
        return self

    @model_validator(mode="after")
    def _has_what_its_engine_needs(self) -> Self:
        if self.type in NEEDS_WEIGHTS and not self.model_uri:
            raise ValueError(f"a backend of type {self.type} needs a modelURI, e.g. file://…")
        if (self.type is BackendType.OPENAI) != (self.external is not None):
            raise ValueError("external is for backends of type OpenAI, which need it")
        check_names(self.lora_adapters)
        if self.lora_adapters and self.type not in TAKES_ADAPTERS:
            raise ValueError("loraAdapters are for backends of type SGLang, vLLM and Simulated")
        return self

    @model_validator(mode="after")
    def _workers_fit_together(self) -> Self:
        types = sorted(worker.type for worker in self.workers)
        if types not in ([], [WorkerType.SERVER], [WorkerType.DECODE, WorkerType.PREFILL]):
            met = ", ".join(types)
            raise ValueError(
                f"expected workers of one type server, or one of type prefill and one of type decode, got {met}"
            )
        if self.is_split and self.type not in SPLITS:
            raise ValueError("prefill and decode workers are for backends of type SGLang, vLLM and Simulated")
        if self.type not in SERVERS and any(worker.pods > 1 for worker in self.workers):
            raise ValueError("workers with several pods are for backends of type SGLang and vLLM")
        known = _CONNECTORS.get(self.type, ())
        if self.kv_connector is not None and self.kv_connector not in known:
            raise ValueError(
                f"this kvConnector is none of the engine's: {self.type} has {', '.join(known) or 'none'}, "
                f"got {self.kv_connector}"
            )
        return self

    @model_validator(mode="after")
    def _claims_have_names(self) -> Self:
        for uri in (self.model_uri, self.cache_uri):
            if uri.startswith("pvc://") and not (re.match(CLAIM_URI, uri) and len(uri.split("/")[2]) <= 253):
                raise ValueError(f"{_CLAIMS}, got {uri}")
        return self

    @model_validator(mode="after")
    def _flags_are_the_users_own(self) -> Self:
        for config in (self.config, *(worker.config for worker in self.workers)):
            for flag in config:
                if self.type in SERVERS and not _FLAG.fullmatch(flag):
                    raise ValueError(f"config: expected names of flags such as tp-size, got {flag!r}")
                if flag.lstrip("-").replace("_", "-") in SET_BY_US.get(self.type, ()):
                    raise ValueError(f"config must not name {flag!r}: it follows from the other fields")
        return self
