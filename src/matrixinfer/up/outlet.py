"""Standard output that may go away: `up | head`, a closed terminal, a full disk. The platform lives on without it."""

from __future__ import annotations

import io
import logging
import os
from typing import IO

logger = logging.getLogger("matrixinfer.up.outlet")


class Outlet(io.TextIOBase):
    """Writes to `file` until that fails once; from then on nobody reads, and whatever is written is dropped."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._is_open = True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there, but never written
        return getattr(self._file, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._is_open and self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if self._is_open:
            try:
                self._file.write(text)
            except OSError as error:
                self._shut(error)
        return len(text)

    def flush(self) -> None:
        if self._is_open:
            try:
                self._file.flush()
            except OSError as error:
                self._shut(error)

    def _shut(self, error: OSError) -> None:
        self._is_open = False
        logger.warning("nobody reads what this shows any more (%s); it goes on without", error)
        try:
            number = self._file.fileno()
        except OSError:
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)  # what is still in its buffer must not fail again when the interpreter ends
        os.close(nowhere)
