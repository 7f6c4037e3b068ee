"""What can go wrong with an engine as a whole; errors of one request are Failures in its final piece.

EngineError
├── BadConfig       the engine's configuration cannot be used; the message names the field
├── StartFailed     the engine did not come up
└── AdapterRefused  a LoRA adapter could not be loaded
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of what an engine raises."""


class BadConfig(EngineError):
    """The configuration names something that this engine does not know or cannot use."""


class StartFailed(EngineError):
    """The engine did not come up; the message says why and what to do."""


class AdapterRefused(EngineError):
    """A LoRA adapter could not be loaded; the message says why and what to do."""
