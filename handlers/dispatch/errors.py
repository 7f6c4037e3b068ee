"""What can go wrong in dispatch beside the bus.

DispatchError
└── TenureLost         this process no longer holds its dispatcher's lease: it must stop at once
"""

from __future__ import annotations


class DispatchError(Exception):
    """Base of dispatch's own errors."""


class TenureLost(DispatchError):
    """The lease ran out before it could be renewed, or somebody else has it."""
