"""Reading a container's log where it lies: its last lines, and what comes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 64 * 1024


def last_lines(path: Path, count: int | None) -> list[str]:
    """The last `count` lines of the file as it is now; all for None."""
    with path.open("rb") as log:
        end = log.seek(0, os.SEEK_END)
        data, at = b"", end
        while at > 0 and (count is None or data.count(b"\n") <= count):
            size = min(BLOCK_BYTES, at)
            at -= size
            log.seek(at)
            data = log.read(size) + data
    lines = data.decode(errors="replace").splitlines()
    return lines if count is None else lines[len(lines) - min(count, len(lines)) :]


class Follower:
    """What is appended to a file from now on; a file that was moved away and begun anew is read from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.open("rb")
        self._log.seek(0, os.SEEK_END)
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """Whole lines that have come since the last call."""
        yield from self._read()
        if self._was_replaced():
            self._log.close()
            self._log = self._path.open("rb")
            yield from self._read()

    def close(self) -> None:
        self._log.close()

    def _read(self) -> Iterator[str]:
        *whole, self._rest = (self._rest + self._log.read()).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")

    def _was_replaced(self) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(self._log.fileno()).st_ino
        except FileNotFoundError:
            return False
