"""What a plug-in can be told: frozen, typed, and nothing beside. msgspec checks it when a profile is loaded."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every plug-in's parameters. Each has a default: a plug-in works without being told anything."""


class NoParameters(Parameters, frozen=True):
    """Of a plug-in that has nothing to be told."""


_FINITE = 1e12
"""Keeps infinity out: msgspec takes no infinite bound."""

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0, le=_FINITE)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0, le=_FINITE)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**40)]
"""Of things that are only counted: what is made or remembered so many times has a bound of its own."""
