"""How a handlers process is told what to do."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from matrixinfer.bus.configuration import Settings
from matrixinfer.handlers.reconcile.backends.platform import Platform

HandlersRole = Literal["cluster", "reconcile", "dispatch", "admission"]
USUAL_ROLES: frozenset[HandlersRole] = frozenset({"cluster", "reconcile", "dispatch"})


def _words(value: object) -> object:
    """`dispatch, reconcile` as it stands in the environment."""
    return tuple(word for word in re.split(r"[,\s]+", value) if word) if isinstance(value, str) else value


class HandlersSettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_HANDLERS_…`) over file (`handlers`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_HANDLERS_")

    roles: Annotated[frozenset[HandlersRole], NoDecode, BeforeValidator(_words), Field(min_length=1)] = USUAL_ROLES
    """What this process does, separated by commas: `cluster` serves the local cluster's door and deletes what lost its
    owner, `reconcile` turns resources into pods, pools and routes, `dispatch` gives requests to pods, `admission`
    answers the webhooks of a Kubernetes API server, and is there only when it is named."""

    cluster: Literal["local", "kubernetes"] = "local"
    """Where the objects are: `local` is the bucket OBJECTS, with nodes that run Pods as processes; `kubernetes` is an
    API server that has the platform's CRDs."""

    kubeconfig: str = ""
    """File with the address and the credentials of the API server. Empty: `$KUBECONFIG`, or what a Pod of the cluster
    is given, or `~/.kube/config`."""

    context: str = ""
    """Context of the kubeconfig; empty is its current one."""

    resync_s: float = Field(default=300.0, gt=0)
    """Every object is looked at again after so many seconds, even if nothing was heard of it: the net below the
    watches. One process of all does it, by the server's schedule. Costs one pass over all objects, so not much shorter
    than minutes."""

    agent_image: str = "matrixinfer"
    """Image of the agent's container in the Pods of a Model; a node that runs containers as processes ignores it."""

    sglang_image: str = "lmsysorg/sglang:v0.5.23"
    """Image of the engine in the Pods of a backend of type SGLang that names none."""

    vllm_image: str = "vllm/vllm-openai:v0.32.0"
    """Image of the engine in the Pods of a backend of type vLLM that names none."""

    agent_env: dict[str, str] = Field(default_factory=dict)
    """Variables of every agent in the Pods of a Model, in the environment a JSON object. On Kubernetes it must name the
    bus, e.g. `{"MATRIXINFER_BUS_URL": "nats://nats.matrixinfer:4222"}`; a node of ours does so itself. A change of it
    replaces the Pods."""

    @property
    def platform(self) -> Platform:
        return Platform(self.agent_image, self.sglang_image, self.vllm_image, self.agent_env)
