"""What a process of a container is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Surroundings:
    """Its whole environment, what the container's `env` says in the container's own words (`told`), its working folder,
    and how the paths of its volumes are called here (`places`)."""

    environment: Mapping[str, str]
    folder: Path
    places: Mapping[str, str]
    told: Mapping[str, str]
