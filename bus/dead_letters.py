"""How both adapters name a dead letter, so that burying the same message twice keeps one letter."""

from __future__ import annotations

import hashlib

from matrixinfer.bus.contracts.dead import DeadLetter


def dead_letter_id(letter: DeadLetter) -> str:
    """The id for the stream's deduplication; a message that had no id of its own is told by its content."""
    what = letter.message_id or hashlib.sha256(letter.data).hexdigest()[:32]
    return f"dead:{letter.subject}:{what}"
