"""Why a simulation cannot begin or does not end.

SimulateError
├── BadTrace      a trace cannot be read
├── BadChoice     an unknown policy, workload or value
├── NoChart       the library that draws is not installed
└── Stuck         requests wait, and nothing more happens
"""

from __future__ import annotations


class SimulateError(Exception):
    """Base of everything the simulator raises: a sentence for a person."""


class BadTrace(SimulateError):
    """Names the file, the line, what was expected and what came."""


class BadChoice(SimulateError):
    """Names the choices that there are."""


class NoChart(SimulateError):
    """Says which command installs it."""


class Stuck(SimulateError):
    """A policy holds requests that it never places."""
