"""Signal handlers that survive a library which installs its own.

llama.cpp's server takes SIGINT and SIGTERM for itself, behind Python's back: the process would no longer drain when it
is asked to stop. Python's own functions work in the main thread only, and the server is started in another.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

_ACTION_BYTES = 512
"""More than any libc's `struct sigaction` has."""


@contextlib.contextmanager
def kept(*signals: signal.Signals) -> Iterator[None]:
    """After the block these signals have the handlers that they had before it. Works in any thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    actions = [(number, ctypes.create_string_buffer(_ACTION_BYTES)) for number in signals]
    for number, action in actions:
        _check(libc.sigaction(int(number), None, action))
    try:
        yield
    finally:
        for number, action in actions:
            _check(libc.sigaction(int(number), action, None))


def _check(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"sigaction: {os.strerror(code)}")
