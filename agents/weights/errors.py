"""What can go wrong with weights. Every message says what was expected, what came, and what to do.

WeightsError
├── BadAddress         the address cannot be read, or has a scheme that is not known
├── NotFound           nothing is at the address
├── DownloadFailed     the network, the registry or the disk did not let it through: trying again may help
└── ChecksumMismatch   what came is not what the address promises
"""

from __future__ import annotations


class WeightsError(Exception):
    """Base of what fetching weights raises."""


class BadAddress(WeightsError):
    """The address does not have a shape that can be fetched."""


class NotFound(WeightsError):
    """The address can be read, but nothing is there."""


class DownloadFailed(WeightsError):
    """The download did not come to its end; nothing of it is left."""


class ChecksumMismatch(WeightsError):
    """The file is complete, and another one than expected; it was thrown away."""
