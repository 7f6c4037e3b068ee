"""Why `up` cannot start or cannot go on.

UpError
├── DataTaken     another `up` works with the same data folder
├── PortTaken     somebody listens on the port
├── ServerTaken   another platform of the same prefix is on the server that --nats names
├── NoServer      nothing that speaks NATS is where --nats says
├── BadOptions    flags that do not go together, or that nothing can be done with
└── PartFailed    a part died again and again, or its model cannot be loaded
"""

from __future__ import annotations


class UpError(Exception):
    """Base of everything `up` raises."""


class DataTaken(UpError):
    """Two platforms would write into one folder."""


class PortTaken(UpError):
    """The gateway could not listen."""


class ServerTaken(UpError):
    """Two platforms of one prefix would be one: each would make the other's models what its own manifest says."""


class NoServer(UpError):
    """The server that was to be used does not answer."""


class BadOptions(UpError):
    """What was asked for contradicts itself, or cannot be."""


class PartFailed(UpError):
    """Says which part, how it ended, and the last lines of its log."""
