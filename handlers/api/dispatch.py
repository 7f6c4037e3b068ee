"""How the requests of a pool are dispatched: part of the ModelServer, and of the Model's backends that make one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from matrixinfer.handlers.api.meta import Part, Whole


class Dispatch(Part):
    shards: Annotated[Whole, Field(ge=1, le=64)] = 1
    """Dispatchers that share the pool, each with its own queue and its own part of the pods. More than one where one
    core cannot hold the rate: a shard's queue is fair in itself, and does not see that another's pods are free."""
