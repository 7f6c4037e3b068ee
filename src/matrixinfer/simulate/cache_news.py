"""How the pods' caches become known: the agents' diaries, ten times a second, a bus delay later in the exact index.

Nothing is lost on this bus, so the only dumps are those of the beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from matrixinfer.agents.engines.simulated.told_cache import ToldCache
from matrixinfer.agents.worker.cache_diary import CacheDiary
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.contracts.cache import CacheEvent
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.simulate.pods import SimulatedPod

TELL_EVERY_S = 0.1
BUS_DELAY_S = 0.001


class CacheNews:
    """Tells `caches` what the `pods` say, which speak under `boot`."""

    def __init__(self, pods: Sequence[SimulatedPod], caches: ToldCaches, boot: str) -> None:
        self._caches = caches
        self._diaries = {
            pod.name: CacheDiary(Identity("default", pod.name, boot), ToldCache(pod.model.cache)) for pod in pods
        }
        self._under_way: deque[tuple[float, CacheEvent]] = deque()
        self.tell(-BUS_DELAY_S)
        self.deliver(0.0)
        while (ask := caches.next_ask(0.0)) is not None:
            caches.answered(ask, self._diaries[ask.pod].dumped(ask.order), 0.0)

    def tell(self, now: float) -> None:
        """What each pod has to say goes out. To be called every TELL_EVERY_S."""
        for diary in self._diaries.values():
            event = diary.compose(now)
            if event is not None:
                self._under_way.append((now + BUS_DELAY_S, event))

    def deliver(self, now: float) -> None:
        """What came by now is heard."""
        while self._under_way and self._under_way[0][0] <= now:
            self._caches.hear(self._under_way.popleft()[1])
