"""What can go wrong among resources, the cluster and the reconcilers.

HandlerError
├── BadManifest     what a person wrote cannot be accepted; `problems` says each thing that is wrong, and where
├── BadPodPlugin    a plug-in that shall change Pods is not there, cannot be loaded, or fails
└── ClusterError
    ├── NotFound    the object to change is not there
    ├── Conflicted  the object is another one than the caller meant, or is being deleted
    └── Unreadable  the stored object cannot be understood by this version
"""

from __future__ import annotations

from collections.abc import Sequence


class HandlerError(Exception):
    """Base of what the handlers raise."""


class BadManifest(HandlerError):
    """Objects that must not be accepted. `problems` are sentences for the person who wrote them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class BadPodPlugin(HandlerError):
    """A plug-in that shall change Pods is not there, does not understand what it is told, or fails."""


class ClusterError(HandlerError):
    """Base of what the cluster port raises, beside the bus's own errors."""


class NotFound(ClusterError):
    """The object to change is not there."""


class Conflicted(ClusterError):
    """The object is another one than the caller meant, or is being deleted: look again."""


class Unreadable(ClusterError):
    """The stored object cannot be understood by this version; the message says why."""
