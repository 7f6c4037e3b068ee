"""ModelServer: a pool of pods that serve one model, chosen by their labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from matrixinfer.handlers.api.dispatch import Dispatch
from matrixinfer.handlers.api.meta import Condition, Labels, Part, Resource, Whole
from matrixinfer.handlers.api.model import BackendType
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

    type: Literal["sglang", "nixl", "mooncake", "lmcache", "http"]


class ModelServerSpec(Part):
    model: Annotated[str, Field(max_length=256)] = ""
    """The name that the engine serves; empty: as the client said."""

    inference_engine: BackendType
    workload_selector: WorkloadSelector
    workload_port: WorkloadPort | None = None
    """Where the engine listens, for engines beside the agent; absent for an engine inside it."""

    kv_connector: KvConnector | None = None
    """Absent: `sglang` for SGLang, else `http`. Without `pdGroup` it means nothing."""

    dispatch: Dispatch = Dispatch()

    tokenizer: Tokenizer | None = None
    """The model's own; absent: prompts are measured by their bytes."""


class ModelServerStatus(Part):
    observed_generation: int = 0
    pods: int = 0
    """Pods that the selector chooses, without those of an older pool."""
    ready_pods: int = 0
    conditions: tuple[Condition, ...] = ()
    """`Ready`: at least one pod takes requests. `Conflicted`: an older ModelServer has some of the pods.
    `CacheIndexTrusted`: the engines report as many cached tokens as dispatch expects; else its message names the pods.
    """


class ModelServer(Resource):
    """A pool of pods that serve one model, chosen by their labels."""

    kind: Literal["ModelServer"] = "ModelServer"
    spec: ModelServerSpec
    status: ModelServerStatus = ModelServerStatus()

    def selects(self, resource: Resource) -> bool:
        wanted = self.spec.workload_selector.match_labels.items()
        return self.metadata.namespace == resource.metadata.namespace and wanted <= resource.metadata.labels.items()
