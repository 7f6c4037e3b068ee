"""How long a container that ended waits before it is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """1, 2, 4 … seconds up to a limit; a run of `reset_s` seconds makes it begin anew."""

    first_s: float = 1.0
    limit_s: float = 60.0
    reset_s: float = 300.0

    def is_healthy(self, ran_s: float) -> bool:
        return ran_s >= self.reset_s

    def wait_s(self, streak: int, ran_s: float) -> float:
        """Wait before the next start, after `streak` restarts without a healthy run, the last of `ran_s` seconds."""
        if self.is_healthy(ran_s):
            return self.first_s
        return min(self.limit_s, self.first_s * 2.0 ** min(streak, 32))
