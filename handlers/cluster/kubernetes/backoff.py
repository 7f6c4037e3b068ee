"""How long to wait after failures in a row: pure, chance comes from the caller."""

from __future__ import annotations

FIRST_S = 0.25
LAST_S = 30.0
LONGEST_ASKED_S = 120.0
"""More than a server in its right mind asks for in Retry-After."""


class Backoff:
    """Doubles from FIRST_S to LAST_S; the upper half of each wait is left to chance, so that many clients of a server
    that was away do not come back at once."""

    def __init__(self, first_s: float = FIRST_S, last_s: float = LAST_S) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, chance: float, retry_after_s: float | None = None) -> float:
        """Seconds to wait now; `chance` is in [0, 1). Never less than the server asked for."""
        most = min(self._last_s, self._first_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        wait_s = most * (0.5 + 0.5 * chance)
        asked_s = min(LONGEST_ASKED_S, max(0.0, retry_after_s or 0.0))
        return max(wait_s, asked_s * (1.0 + 0.1 * chance))
