"""Who of the agents is heard: a Pod with an agent is ready while its load events come."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from matrixinfer.agents.node.pods import PodId
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts.codec import decode
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.ports import Signal

logger = logging.getLogger("matrixinfer.agents.node.readiness")


class Pulse(msgspec.Struct, frozen=True, array_like=True):
    """The first fields of a `LoadEvent`: the rest of an array is skipped, not decoded."""

    namespace: str
    pod: str
    boot: str
    sequence: int
    draining: bool = False


class Readiness:
    """Remembers when each Pod's agent was last heard; calls `on_change` when one becomes ready or drains."""

    def __init__(self, clock: Clock, silence_s: float, on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._silence_s = silence_s
        self._on_change = on_change
        self._heard_s: dict[PodId, float] = {}
        self._unreadable: set[str] = set()

    async def hear(self, signal: Signal) -> None:
        """Handler of the load events of all Pods."""
        try:
            pulse = decode(signal.data, Pulse)
        except Malformed as error:
            self._tell_of(signal.subject, error)
            return
        pod = PodId(pulse.namespace, pulse.pod)
        was_heard = self.is_heard(pod)
        if pulse.draining:
            self._heard_s.pop(pod, None)
        else:
            self._heard_s[pod] = self._clock.monotonic()
        if was_heard == pulse.draining:
            self._on_change()

    def _tell_of(self, subject: str, error: Malformed) -> None:
        """Once of each subject: whoever sends such events sends them for ever."""
        if subject not in self._unreadable:
            self._unreadable.add(subject)
            logger.warning("load events on %s cannot be read, their pod is not ready: %s", subject, error)

    def is_heard(self, pod: PodId) -> bool:
        """An event of this Pod came of late, and its agent takes work."""
        heard_s = self._heard_s.get(pod)
        return heard_s is not None and self._clock.monotonic() - heard_s < self._silence_s

    def forget(self, pod: PodId) -> None:
        """What was heard came from a process that is not there any more."""
        self._heard_s.pop(pod, None)
