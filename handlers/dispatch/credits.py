"""How many more requests may be pulled: bounded by count and by bytes in hand.

Credits go out in a window that is small against the bound, so that a flood of large prompts overshoots the bound of
bytes by one window at most.
"""

from __future__ import annotations


class Credits:
    """Accounts for one consumption. `outstanding` credits lie at the server, `in_hand` were delivered."""

    def __init__(self, max_in_hand: int, max_bytes: int, window: int) -> None:
        self._max_in_hand = max_in_hand
        self._max_bytes = max_bytes
        self._window = min(window, max_in_hand)
        self.in_hand = 0
        self._bytes = 0
        self.outstanding = 0

    def take(self, size_bytes: int) -> None:
        """A delivery came."""
        self.outstanding -= 1
        self.in_hand += 1
        self._bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """A delivery was acknowledged, or replaced by another of the same message."""
        self.in_hand -= 1
        self._bytes -= size_bytes

    def due(self) -> int:
        """The credits to grant now; they count as outstanding from here on. Small amounts wait to go together."""
        if self.outstanding > self._window // 2 or self._bytes >= self._max_bytes:
            return 0
        amount = min(self._window, self._max_in_hand - self.in_hand) - self.outstanding
        if amount <= 0 or (amount < self._window // 4 and self.outstanding > 0):
            return 0
        self.outstanding += amount
        return amount

    def is_starved(self) -> bool:
        """Nothing can be delivered now, so more may be stored than was seen here."""
        return self.outstanding <= 0
