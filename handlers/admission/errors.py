"""What can go wrong between the API server and its webhooks.

HandlerError
├── NoReview        what came is no AdmissionReview that this version understands
└── BadKeyset       a Secret or a folder holds no certificate that can be served, and a key that fits it
"""

from __future__ import annotations

from matrixinfer.handlers.errors import HandlerError


class NoReview(HandlerError):
    """What came is no AdmissionReview that this version understands."""


class BadKeyset(HandlerError):
    """No certificate that can be served, or no key that fits it."""
