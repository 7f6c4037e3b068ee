"""The server's subject wildcards: `*` is one token, a last `>` is one or more."""

from __future__ import annotations

import functools
import itertools


@functools.lru_cache(maxsize=65536)
def matches(pattern: str, subject: str) -> bool:
    """Does `subject`, which has no wildcards, fall under `pattern`?"""
    return overlaps(pattern, subject)


def overlaps(first: str, second: str) -> bool:
    """Is there a subject that falls under both patterns?"""
    for a, b in itertools.zip_longest(first.split("."), second.split(".")):
        if a is None or b is None:
            return False
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return True
