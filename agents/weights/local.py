"""Weights that are already here: a plain path, or `file:///path`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from matrixinfer.agents.weights.errors import BadAddress, NotFound


async def fetch(uri: str, cache_dir: Path, progress: Callable[[int, int], None]) -> Path:
    """The path itself, once it is known to exist; the cache has no part in it."""
    try:
        path = _path(uri)
        size_bytes = await asyncio.to_thread(_size, path)
    except (OSError, RuntimeError, ValueError) as error:  # too long, a home that nobody has, a NUL, half an IPv6 host
        raise BadAddress(f"weights {uri!r}: {error}") from error
    if size_bytes is None:
        raise NotFound(f"weights {uri!r}: there is no file or folder at {path}; check the path on this machine")
    progress(size_bytes, size_bytes)
    return path


def _path(uri: str) -> Path:
    if not uri.lower().startswith("file://"):
        if not uri:
            raise BadAddress("weights: expected a path or an address, got nothing")
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise BadAddress(f"weights {uri!r}: expected file:///absolute/path, got the host {parts.netloc!r}")
    return Path(unquote(parts.path))


def _size(path: Path) -> int | None:
    """Bytes of a file, 0 for a folder, None when there is nothing."""
    if path.is_file():
        return path.stat().st_size
    return 0 if path.exists() else None
