"""What can go wrong in dispatch beside the bus.

DispatchError
├── TenureLost         this process no longer holds its dispatcher's lease: it must stop at once
├── BadPlugin          an installed scheduling plug-in cannot be used; the message names its entry point
└── BadProfile         a scheduling profile cannot be used; `problems` names each field that is wrong
"""

from __future__ import annotations

from collections.abc import Sequence


class DispatchError(Exception):
    """Base of dispatch's own errors."""


class TenureLost(DispatchError):
    """The lease ran out before it could be renewed, or somebody else has it."""


class BadPlugin(DispatchError):
    """An installed plug-in cannot be loaded, or takes a name that is taken."""


class BadProfile(DispatchError):
    """A profile names what does not exist, or tells a plug-in what it does not understand."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)
