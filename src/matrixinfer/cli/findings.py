"""What a check of `doctor` says: a verdict, a text, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["fine", "wrong", "note"]
SIGNS: dict[str, tuple[str, str]] = {"fine": ("✓", "green"), "wrong": ("✗", "red"), "note": ("·", "dim")}


@dataclass(frozen=True)
class Finding:
    """`advice` says what to do, and is empty when nothing is."""

    verdict: Verdict
    subject: str
    text: str
    advice: str = ""
