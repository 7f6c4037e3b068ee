"""What an installation says about all Pods that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from matrixinfer.handlers.api.container import EnvVar


@dataclass(frozen=True)
class Platform:
    """Images where the backend names none, and what every agent is told besides, e.g. where the bus is."""

    agent_image: str = "matrixinfer"
    sglang_image: str = ""
    vllm_image: str = ""
    agent_env: Mapping[str, str] = field(default_factory=dict)

    def agent_variables(self) -> tuple[EnvVar, ...]:
        return tuple(EnvVar(name=name, value=value) for name, value in sorted(self.agent_env.items()))
