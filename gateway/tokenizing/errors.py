"""Why there are no tokens. Neither ever reaches a client.

TokenizerUnusable     a pool's tokenizer or chat template cannot be loaded; the message says what to do
NotTokenized          this prompt has no token ids here; `reason` is a label of the metrics
"""

from __future__ import annotations

from typing import Literal

Reason = Literal["media", "no_template", "template_failed", "several_prompts", "not_understood", "not_encoded"]


class TokenizerUnusable(Exception):
    """Names the file, and what was expected of it."""


class NotTokenized(Exception):
    def __init__(self, reason: Reason, message: str = "") -> None:
        super().__init__(message or reason)
        self.reason: Reason = reason
