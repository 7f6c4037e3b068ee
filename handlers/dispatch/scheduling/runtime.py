"""A profile at work: candidates → filters → scorers → picker. Plug-ins are timed here, held to their promises, and
told what became of their advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.cached import Cached
from matrixinfer.handlers.dispatch.scheduling.candidates import candidates
from matrixinfer.handlers.dispatch.scheduling.plugins import Plugins
from matrixinfer.handlers.dispatch.scheduling.port import Advocate, Ask, Choice, Knowledge, Learner
from matrixinfer.handlers.dispatch.scheduling.safeguard import Safeguard
from matrixinfer.handlers.dispatch.scheduling.scores import RECORDED_CANDIDATES, Judge, Scores
from matrixinfer.handlers.dispatch.scheduling.timings import Stopwatch, Timing
from matrixinfer.handlers.dispatch.scheduling.witness import Witness, has_all_recorded

TIMED_EVERY = 16
"""One in so many decisions is measured."""


class Surroundings(NamedTuple):
    """What a scheduler is given beside its profile.

    `limit` bounds the candidates of one decision. `clock` gives seconds, for timings only. `report` gets a sentence,
    once, when a plug-in fails or breaks its promise. With a `witness` every choice tells what it saw.
    """

    clock: Callable[[], float]
    report: Callable[[str], None]
    knowledge: Knowledge = Knowledge()
    limit: int = 32
    witness: Witness | None = None


class ProfileScheduler:
    """A Scheduler by plug-ins."""

    def __init__(self, name: str, plugins: Plugins, surroundings: Surroundings) -> None:
        self.name = name
        self._plugins, self._surroundings = plugins, surroundings
        self._knowledge = surroundings.knowledge
        self._limit = surroundings.limit
        self._witness = surroundings.witness
        self._stopwatch = Stopwatch(surroundings.clock)
        safeguard = Safeguard(surroundings.report)
        self._judge = Judge(safeguard)
        self._calls = plugins.calls(safeguard)
        self._timed_calls = plugins.timed_calls(self._stopwatch, safeguard)
        self._filters = plugins.but_role().calls(safeguard)
        self._decisions = 0
        everybody = plugins.everybody()
        caches: list[object] = [*surroundings.knowledge]
        self._wanted = [
            safeguard.around(name, _at_once(plugin), _nobody)
            for name, plugin in everybody
            if isinstance(plugin, Advocate)
        ]
        self._placed = [
            *[one.placed for one in caches if isinstance(one, Learner)],
            *[safeguard.around(name, one.placed, _ignored) for name, one in everybody if isinstance(one, Learner)],
        ]

    def succeeding(self, former: ProfileScheduler) -> ProfileScheduler:
        """The same profile at work, with the plug-ins of `former` that are equal and all that these have learned."""
        return ProfileScheduler(self.name, self._plugins.keeping(former._plugins), self._surroundings)

    def timings(self) -> Mapping[str, Timing]:
        """By kind and name, as `scorer token_load`; of the decisions that were measured."""
        return self._stopwatch.timings

    def holders(self, request: Request) -> Mapping[str, float]:
        return Cached.of(request, self._knowledge).believed()

    def pick(self, request: Request, pods: Sequence[Pod], now: float, rng: Rng) -> Choice | None:
        calls = self._calls if self._decisions % TIMED_EVERY else self._timed_calls
        self._decisions += 1
        cached = Cached.of(request, self._knowledge)
        few = self._candidates(request, pods, cached, now, rng)
        able = calls.keep(request, few, now)
        if not able and len(few) < len(pods):  # whoever is able may be rare, and missed by the few
            able = self._candidates(request, calls.keep(request, pods, now), cached, now, rng)
        if not able:
            return None
        ask = cached.ask(request, able, now, pods)
        scores = self._judge.scores(calls.scorers, ask)
        winner = calls.pick(ask, scores.totals, rng)
        choice = self._record(ask, scores, winner, few, cached)
        self.learn(request, choice.pod, now)
        return choice

    def able(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        return self._filters.keep(request, pods, now)

    def learn(self, request: Request, pod: Pod, now: float) -> None:
        for placed in self._placed:
            placed(request, pod, now)

    def judge(self, ask: Ask, rng: Rng) -> Choice | None:
        """Decide about just these pods, by what is told of them, and learn nothing. All are in the choice's record."""
        able = set(self._calls.keep(ask.request, ask.pods, ask.now))
        if not able:
            return None
        ask = ask.only(able)
        scores = self._judge.scores(self._calls.scorers, ask)
        winner = self._calls.pick(ask, scores.totals, rng)
        candidates = scores.record(ask.pods, scores.ranked(winner, len(ask.pods)))
        return Choice(ask.pods[winner], candidates, ask.cached_tokens[winner])

    def _record(self, ask: Ask, scores: Scores, winner: int, few: Sequence[Pod], cached: Cached) -> Choice:
        """Before anybody learns of it. Of some requests everybody is seen, those that a filter dropped last."""
        pods, witness, seen = ask.pods, self._witness, None
        is_complete = witness is not None and has_all_recorded(ask.request.key[0])
        ranked = scores.ranked(winner, len(pods) if is_complete else RECORDED_CANDIDATES)
        if witness is not None and is_complete:
            everyone = [*[pods[index] for index in ranked], *[pod for pod in few if pod not in pods]]
            seen = witness.see(cached.ask(ask.request, everyone, ask.now, ask.everyone), range(len(everyone)))
            seen = seen._replace(is_complete=True)
        elif witness is not None:
            seen = witness.see(ask, ranked)
        return Choice(pods[winner], scores.record(pods, ranked), ask.cached_tokens[winner], seen)

    def _candidates(self, request: Request, pods: Sequence[Pod], cached: Cached, now: float, rng: Rng) -> Sequence[Pod]:
        if len(pods) <= self._limit:
            return pods
        wanted = {name for wanted_by in self._wanted for name in wanted_by(request, pods, now)}
        return candidates(pods, cached.believed(), wanted, self._limit, rng)


def _at_once(advocate: Advocate) -> Callable[[Request, Sequence[Pod], float], Sequence[str]]:
    """A generator runs, and fails, where it is read: not among the candidates, but where its failure is guarded."""
    return lambda request, pods, now: list(advocate.wanted(request, pods, now))


def _nobody(request: Request, pods: Sequence[Pod], now: float) -> Sequence[str]:
    return ()


def _ignored(request: Request, pod: Pod, now: float) -> None:
    pass
