"""Says how a download goes, in steps that a person wants to read."""

from __future__ import annotations

import logging

log = logging.getLogger("matrixinfer.agents.progress")

MIB = 1024 * 1024
STEP_OF_UNKNOWN_BYTES = 256 * MIB


class Progress:
    """Call it with the bytes done and the bytes in all (0: not known), as often as wanted; it logs each tenth."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._step = 0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        step = 10 * done_bytes // total_bytes if total_bytes else done_bytes // STEP_OF_UNKNOWN_BYTES
        if step <= self._step:
            return
        self._step = step
        if total_bytes:
            log.info("%s: %d %% of %.0f MiB", self._name, 10 * step, total_bytes / MIB)
        else:
            log.info("%s: %.0f MiB", self._name, done_bytes / MIB)
