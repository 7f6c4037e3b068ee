"""Who this agent is in everything it says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """`boot` names this life of the process: after a restart the same pod is another agent."""

    namespace: str
    pod: str
    boot: str
