"""What a group of Pods needs together: how many of each role, and how near to each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from matrixinfer.handlers.api.meta import Part, Whole


class GangPolicy(Part):
    """All or nothing: a group begins to serve, and with Volcano to be scheduled, when its minimum is there."""

    min_role_replicas: Annotated[dict[str, Annotated[Whole, Field(ge=0)]], Field(max_length=16)] = Field(default={})
    """Instances of each role that a group cannot do without, by the role's name. A role that is not named needs all."""


class NetworkTopology(Part):
    """As Volcano understands it."""

    mode: Literal["hard", "soft"] = "hard"
    """`hard`: rather not at all than farther apart. `soft`: as near as can be."""

    highest_tier_allowed: Annotated[Whole, Field(ge=0)] | None = None
    """The largest part of the network, by its tier, that the pods may be spread over."""


class NetworkTopologies(Part):
    """Said to Volcano; other schedulers do not hear of it."""

    group_policy: NetworkTopology | None = None
    """For all pods of a group."""

    role_policy: NetworkTopology | None = None
    """For the pods of each instance of a role."""
