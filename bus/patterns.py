"""Regular expressions that people write into resources, matched against what strangers send: in linear time, whatever
the expression (RE2). One of Python's would let a header of 40 characters stop a gateway."""

from __future__ import annotations

from collections.abc import Callable

import re2

from matrixinfer.bus.errors import Malformed

MOST_MEMORY = 1 << 20
"""Bytes of one compiled expression; RE2 refuses what needs more."""


def matcher(pattern: str) -> Callable[[str], bool]:
    """Does it match the whole of a text? Raises Malformed for what is no expression of RE2's."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MOST_MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise Malformed(f"{pattern!r} is no regular expression of RE2's syntax: {reason}") from error
    except UnicodeEncodeError as error:
        raise Malformed(f"{pattern!r} is no text: it has half a character") from error
    return lambda text: compiled.fullmatch(text) is not None
