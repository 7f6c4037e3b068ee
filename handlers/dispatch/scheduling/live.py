"""One pool's scheduler while its profile may change: no request waits for a profile, and a bad one changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from matrixinfer.bus.contracts.profile import Profile
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Choice
from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler
from matrixinfer.handlers.dispatch.scheduling.timings import Timing


class LiveScheduler:
    """A Scheduler by the last good profile; by the default one until `follow` says otherwise."""

    def __init__(
        self,
        compiled: Callable[[Profile], ProfileScheduler],
        on_pods: Callable[[Collection[str]], None] | None = None,
        on_tick: Callable[[Mapping[str, Pod], float], None] | None = None,
    ) -> None:
        """`on_pods` is told the names of the pool's pods whenever they change, `on_tick` the pods and the time."""
        self._compiled = compiled
        self._on_pods = on_pods
        self._on_tick = on_tick
        self._profile = Profile()
        self._current = compiled(self._profile)

    @property
    def name(self) -> str:
        return self._current.name

    def follow(self, profile: Profile) -> bool:
        """Schedule by `profile` from now on; False when that is done already. Raises BadProfile, once for each change,
        and then stays as it was. Plug-ins that are the same in both keep what they learned."""
        if profile == self._profile:
            return False
        self._profile = profile
        self._current = self._compiled(profile).succeeding(self._current)
        return True

    def list_pods(self, names: Collection[str]) -> None:
        """These are the pool's pods: what is known of others can be forgotten."""
        if self._on_pods is not None:
            self._on_pods(names)

    def tick(self, pods: Mapping[str, Pod], now: float) -> None:
        """What only time brings about. To be called a few times a second."""
        if self._on_tick is not None:
            self._on_tick(pods, now)

    def timings(self) -> Mapping[str, Timing]:
        """Since the last change of the profile."""
        return self._current.timings()

    def holders(self, request: Request) -> Mapping[str, float]:
        return self._current.holders(request)

    def pick(self, request: Request, pods: Sequence[Pod], now: float, rng: Rng) -> Choice | None:
        return self._current.pick(request, pods, now, rng)

    def able(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        return self._current.able(request, pods, now)

    def learn(self, request: Request, pod: Pod, now: float) -> None:
        self._current.learn(request, pod, now)
