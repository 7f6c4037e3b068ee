"""Images, sound and files inside a prompt: long runs of base64, of which an engine makes far fewer tokens than of as
many bytes of text. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

SHORTEST_BYTES = 4096
"""No text goes so long without a blank or a mark. What is shorter counts as text, with no more tokens than a piece."""

_STEP = SHORTEST_BYTES // 2  # each run of the shortest length holds a whole step, wherever it begins
_RUN = re.compile(rb"(?:[A-Za-z0-9+/=_-]+|\\[/n])*")
r"""With what JSON makes of a slash and of the end of a line. Escapes as \u4e2d are text, in most of the languages.
Nothing follows, so it never goes back; possessive quantifiers would say so, but match wrongly before Python 3.11.5."""
_BACKWARDS = re.compile(rb"(?:[A-Za-z0-9+/=_-]+|(?<=[/n])\\)*")


class Embedded(NamedTuple):
    pieces: int
    size_bytes: int


def embedded(text: bytes) -> Embedded:
    """The long runs in `text`. One look at every 2,048 bytes is enough to find them; the rest is skipped unread."""
    pieces = size_bytes = 0
    start, last = 0, len(text) - _STEP
    while start <= last:
        end = start + _length(_RUN.match(text, start))
        if end - start >= _STEP:
            begun = start - _length(_BACKWARDS.match(text[max(0, start - _STEP) : start][::-1]))
            if end - begun >= SHORTEST_BYTES:
                pieces += 1
                size_bytes += end - begun
        start = max(end, start + _STEP)
    return Embedded(pieces, size_bytes)


def _length(match: re.Match[bytes] | None) -> int:
    return match.end() - match.start() if match else 0
