"""How a ModelInfer goes from one template to the next, and what it does about pods that fail."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from matrixinfer.handlers.api.durations import Duration, seconds
from matrixinfer.handlers.api.meta import Flag, Part, Whole
from matrixinfer.handlers.api.patterns import ROLE_NAME, SHARE
from matrixinfer.handlers.api.rules import Rule
from matrixinfer.handlers.api.sentences import shown

_MOST = 2**31 - 1


def _share(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    if isinstance(value, str) and re.fullmatch(SHARE, value):
        return value
    raise ValueError(f"expected a whole number from 0, or a share from 0% to 100%, got {shown(value)}")


Share = Annotated[
    int | str,
    PlainValidator(_share),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": SHARE, "minimum": 0, "maximum": _MOST}),
]
"""A number of groups (or instances of a role), or a share of all of them, as `25%`."""


def resolved(share: int | str, of: int, *, up: bool = True) -> int:
    """The number that `share` of `of` stands for; a fraction is rounded `up` or down."""
    if isinstance(share, int):
        return share
    hundredths = int(share.removesuffix("%")) * of
    return -(-hundredths // 100) if up else hundredths // 100


class RollingUpdate(Part):
    """Where both resolve to 0, nothing could ever change: then one at a time may be unavailable."""

    max_unavailable: Share = 1
    """So many fewer than `replicas` may be ready at any time. Shares are rounded down."""

    max_surge: Share = 0
    """So many more than `replicas` may be there at any time: with 1, and `maxUnavailable` 0, a new one is ready before
    an old one goes. Shares are rounded up."""

    partition: Share = 0
    """So many of the old ones, those with the lowest numbers, stay as they are: for a canary. Shares are rounded up."""


class RolloutStrategy(Part):
    RULES = (
        Rule(
            "!has(self.roleOrder) || size(self.roleOrder) == 0 || self.type == 'RoleRollingUpdate'",
            "roleOrder is for type RoleRollingUpdate: whole groups have all their roles at once",
        ),
        Rule(
            "!has(self.roleOrder) || self.roleOrder.all(a, self.roleOrder.exists_one(b, b == a))",
            "roleOrder must name each role once",
        ),
    )

    type: Literal["InferGroupRollingUpdate", "RoleRollingUpdate"] = "InferGroupRollingUpdate"
    """What is replaced at a time: a whole group when any of its roles has changed, or an instance of a role that has.
    For roles, the numbers below are of each role in each group."""

    rolling_update_configuration: RollingUpdate = RollingUpdate()

    paused: Flag = False
    """Nothing more is replaced until this is false again. Scaling and recovery go on, each with its own template."""

    role_order: Annotated[
        tuple[Annotated[str, Field(max_length=12, pattern=ROLE_NAME)], ...], Field(max_length=16)
    ] = ()
    """For `RoleRollingUpdate`: these roles one after the other, each when the one before it is done, then the rest."""

    @property
    def by_role(self) -> bool:
        return self.type == "RoleRollingUpdate"

    @model_validator(mode="after")
    def _order_is_of_roles(self) -> Self:
        if self.role_order and not self.by_role:
            raise ValueError("roleOrder is for type RoleRollingUpdate: whole groups have all their roles at once")
        if len(set(self.role_order)) < len(self.role_order):
            raise ValueError(f"roleOrder must name each role once, got {', '.join(self.role_order)}")
        return self


class Recovery(Part):
    """How soon and how often what failed is made anew. It counts as well again after an hour without a failure."""

    RULES = (Rule("duration(self.backoff) <= duration(self.maxBackoff)", "maxBackoff must be at least backoff"),)

    backoff: Duration = "10s"
    """The first pause; each failure in a row doubles it."""

    max_backoff: Duration = "5m"

    budget: Annotated[Whole, Field(ge=1)] | None = None
    """After so many failures in a row it is left as it is, and the condition `Degraded` says so, until the template
    changes or somebody deletes the pod. Absent: tried for ever."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if seconds(self.backoff) > seconds(self.max_backoff):
            raise ValueError(f"maxBackoff {self.max_backoff} must be at least backoff {self.backoff}")
        return self
