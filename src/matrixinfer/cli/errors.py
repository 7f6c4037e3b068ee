"""Errors as a person at the terminal reads them: one line, unless `--debug` asks for the traceback.

CliError        what the command line itself finds wrong
"""

from __future__ import annotations


class CliError(Exception):
    """A sentence for a person: what was expected, what came, what to do."""


def readable(error: BaseException) -> str:
    """One sentence for any error; of a group, the first one that is not a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if is_expected(error):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def is_expected(error: BaseException) -> bool:
    """Ours, or the operating system's about a file: its message says enough, without a traceback."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__module__.startswith("matrixinfer.") or isinstance(error, OSError)
