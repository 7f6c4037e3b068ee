"""How a handlers process is told what to do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from matrixinfer.bus.configuration import Settings

HandlersRole = Literal["cluster", "reconcile", "dispatch"]
ALL_ROLES: frozenset[HandlersRole] = frozenset({"cluster", "reconcile", "dispatch"})


class HandlersSettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_HANDLERS_…`) over file (`handlers`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_HANDLERS_")

    roles: frozenset[HandlersRole] = ALL_ROLES
    """What this process does, in the environment a JSON list: `cluster` serves the local cluster's door and deletes
    what lost its owner, `reconcile` turns resources into pods, pools and routes, `dispatch` gives requests to pods."""

    resync_s: float = Field(default=300.0, gt=0)
    """Every object is looked at again after so many seconds, even if nothing was heard of it: the net below the
    watches. Costs one pass over all objects, so not much shorter than minutes."""

    agent_image: str = "matrixinfer"
    """Image of the agent's container in the Pods of a Model; a node that runs containers as processes ignores it."""
