"""ModelServer: a pool of pods that serve one model, chosen by their labels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.dispatch import Dispatch
from matrixinfer.handlers.api.durations import Duration
from matrixinfer.handlers.api.engines import BackendType, ConnectorType
from matrixinfer.handlers.api.lora import LoraAdapters, check_names
from matrixinfer.handlers.api.meta import Condition, Labels, Part, Resource, Whole
from matrixinfer.handlers.api.tokenizer import Tokenizer

MatchLabels = Annotated[Labels, Field(min_length=1)]
"""At least one label: an empty selector would choose every pod of the namespace."""


class PdGroup(Part):
    """How prefill and decode pods find each other: pods with the same value of the label `groupKey` are one group."""

    group_key: Annotated[str, Field(min_length=1)]
    prefill_labels: MatchLabels
    decode_labels: MatchLabels


class WorkloadSelector(Part):
    match_labels: MatchLabels
    pd_group: PdGroup | None = None


class WorkloadPort(Part):
    port: Annotated[Whole, Field(ge=1, le=65535)]
    protocol: Literal["http", "https"] = "http"


class KvConnector(Part):
    """How a prompt's KV cache gets from the prefill to the decode engine."""

    type: ConnectorType


class Retry(Part):
    attempts: Annotated[Whole, Field(ge=0, le=2)] = 2
    """How often a request that was lost, before its first token, may be sent again."""


class TrafficPolicy(Part):
    timeout: Duration | None = None
    """Longest time for a whole answer; where the route has one too, the shorter counts."""
    retry: Retry = Retry()


class Access(Part):
    """Who may ask."""

    tenants: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=253)], ...], Field(max_length=1000)] = ()
    """These alone; empty: everybody. For the others the model does not exist."""


class ModelServerSpec(Part):
    model: Annotated[str, Field(max_length=256)] = ""
    """The name that the engine serves; empty: as the client said."""

    inference_engine: BackendType
    workload_selector: WorkloadSelector
    workload_port: WorkloadPort | None = None
    """Where the engine listens, for engines beside the agent; absent for an engine inside it."""

    kv_connector: KvConnector | None = None
    """Absent: `sglang` for SGLang, else `http`. Without `pdGroup` it means nothing."""

    traffic_policy: TrafficPolicy = TrafficPolicy()
    access: Access = Access()

    lora_adapters: LoraAdapters = ()
    """Loaded into every Pod of the pool whose engine can, and unloaded when they are no longer named here."""

    dispatch: Dispatch = Dispatch()

    tokenizer: Tokenizer | None = None
    """The model's own; absent: prompts are measured by their bytes."""

    @model_validator(mode="after")
    def _adapters_differ(self) -> Self:
        check_names(self.lora_adapters)
        return self


class RoleCount(Part):
    """Of the pods that take requests; workers of a multi-node engine are none."""

    name: str
    pods: int = 0
    ready_pods: int = 0


class ModelServerStatus(Part):
    observed_generation: int = 0
    pods: int = 0
    """Pods that the selector chooses, without those of an older pool."""
    ready_pods: int = 0
    roles: tuple[RoleCount, ...] = ()
    pd_groups: int = 0
    """Groups in which at least one prefill and one decode pod are ready."""
    conditions: tuple[Condition, ...] = ()
    """`EndpointsReady`: at least one pod takes requests; with prefill and decode, one of each in one group.
    `Conflicted`: an older ModelServer has some of the pods. `CacheIndexTrusted`: the engines report as many cached
    tokens as dispatch expects; else its message names the pods."""


class ModelServer(Resource):
    """A pool of pods that serve one model, chosen by their labels."""

    kind: Literal["ModelServer"] = "ModelServer"
    spec: ModelServerSpec
    status: ModelServerStatus = ModelServerStatus()

    def selects(self, resource: Resource) -> bool:
        wanted = self.spec.workload_selector.match_labels.items()
        return self.metadata.namespace == resource.metadata.namespace and wanted <= resource.metadata.labels.items()
