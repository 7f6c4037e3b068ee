"""The scheduling profile of a pool: which plug-ins decide about its pods. What the names mean is dispatch's to say."""

from __future__ import annotations

from typing import Any

import msgspec


class Plugin(msgspec.Struct, frozen=True):
    """`parameters` are the plug-in's own; what is not named has the plug-in's default."""

    name: str
    parameters: dict[str, Any] = {}  # Any: each plug-in has its own fields, and checks them


class WeightedPlugin(msgspec.Struct, frozen=True):
    """A scorer; it counts `weight` over the sum of all weights."""

    name: str
    weight: float = 1.0
    parameters: dict[str, Any] = {}  # Any: see Plugin


class Profile(msgspec.Struct, frozen=True):
    """Filters in their order → scorers → one picker. Without filters and scorers it is the default profile.

    `name` is how decisions call it. `picker` None: the best score, among equals one by chance.
    """

    name: str = ""
    filters: list[Plugin] = []
    scorers: list[WeightedPlugin] = []
    picker: Plugin | None = None

    def is_empty(self) -> bool:
        return not (self.filters or self.scorers or self.picker)
