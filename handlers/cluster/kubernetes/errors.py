"""What the API server can answer instead of an object.

ClusterError
└── Refused         the API server refused; `status` is HTTP's, `reason` Kubernetes' word for it
    └── TooOld      a version was asked for that the server has forgotten: list again
"""

from __future__ import annotations

from matrixinfer.handlers.errors import ClusterError


class Refused(ClusterError):
    """An answer with an error. `retry_after_s` is what the server asks for; None when it says nothing."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"the API server refused with {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def is_about_the_object(self) -> bool:
        """Sent again, it would be refused again. Server-side apply says 500 of lists with two items of one name, and of
        fields that this server does not know."""
        return self.status < 500 or "failed to create typed patch object" in self.message


class TooOld(Refused):
    """410: the version, or the place in a paged list, is gone from the server's memory."""
