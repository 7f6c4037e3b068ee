"""How often one stream is written to: chunks that come faster than anybody reads leave together.

A write costs more than all else that happens to a chunk. The first chunk after a pause leaves at once, so no real
model's token ever waits; what follows within the gap leaves with its end, in one write. One timer serves all streams,
and runs only while one of them is that fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

GAP_S = 0.002
"""Far below what a reader or a measure of TPOT can tell, and some tokens of the fastest engines."""


class Pace:
    def __init__(self, gap_s: float = GAP_S) -> None:
        self._gap_s = gap_s
        self._resting: list[Callable[[], bool]] = []
        self._ticks = False

    def rest(self, on_rested: Callable[[], bool]) -> None:
        """Call `on_rested` after the gap, and after each further one as long as it returns True: it wrote again."""
        self._resting.append(on_rested)
        if not self._ticks:
            self._start()

    def _start(self) -> None:
        self._ticks = True
        asyncio.get_running_loop().call_later(self._gap_s, self._tick)

    def _tick(self) -> None:
        resting, self._resting = self._resting, []
        self._resting += [on_rested for on_rested in resting if on_rested()]
        if self._resting:
            self._start()
        else:
            self._ticks = False
