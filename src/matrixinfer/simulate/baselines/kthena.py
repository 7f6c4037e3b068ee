"""Kthena's scheduler: a filter, then a sum of scores from 0 to 100 as whole numbers, ties by chance.

    filter least-request   waiting < 10; nobody left: the request fails (HTTP 400)
    score least-request    base = on_flight + 100 x max(on_flight - running, 0);
                           100 x (max - base) / max, 100 if max = 0
    score gpu-usage        (1 - kv_cache_usage) x 100
    score least-latency    0.5 x score(TTFT) + 0.5 x score(TPOT), each 100 x (max - t) / (max - min), 100 if
                           equal, of the means of the last second with samples; 50 for a pod without
    prefix scores          in `kthena_prefix`

`waiting`, `running`, usage and means come from metrics pages polled each second (so do the scores made of nothing
else); `on_flight` is the router's own counter. All weights are 1, as in the Helm chart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from matrixinfer.simulate.immediate import Balancer, Gateway, Metrics, scrape
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.workload import Arrival

POLL_S = 1.0
MAX_WAITING = 10
QUEUE_PENALTY = 100
WITHOUT_SAMPLES = 50.0


class PrefixScore(Protocol):
    def score(self, arrival: Arrival, candidates: Sequence[int]) -> dict[int, float]:
        """Of the pods that have some of the prompt; the others have 0."""
        ...

    def learn(self, life: Life) -> None:
        """A response has ended."""
        ...


PolledScore = Callable[["Polled", Sequence[int]], list[float]]


class Polled:
    """What the router saw when it polled last: the means are of the last interval that had samples."""

    def __init__(self, gateway: Gateway) -> None:
        self._pods = gateway.pods
        self.metrics = [scrape(pod) for pod in gateway.pods]
        self.ttft_s: list[float | None] = [None] * len(gateway.pods)
        self.tpot_s: list[float | None] = [None] * len(gateway.pods)

    def poll(self) -> None:
        for index, pod in enumerate(self._pods):
            before, after = self.metrics[index], scrape(pod)
            self.metrics[index] = after
            if after.ttft_count > before.ttft_count:
                self.ttft_s[index] = _mean_ttft_s(before, after)
            if after.tpot_count > before.tpot_count:
                self.tpot_s[index] = _mean_tpot_s(before, after)


class Kthena(Balancer):
    """One profile: least-request, the given scores of polled values, and one of prefixes."""

    period_s = POLL_S

    def __init__(self, gateway: Gateway, polled_scores: Sequence[PolledScore], prefix: PrefixScore) -> None:
        self._gateway = gateway
        self._polled = Polled(gateway)
        self._polled_scores = polled_scores
        self._prefix = prefix
        self._review()

    def choose(self, arrival: Arrival, now: float) -> int | None:
        candidates = self._candidates
        if not candidates:
            return None
        totals = self._least_request()
        for pod, score in self._prefix.score(arrival, candidates).items():
            totals[pod] += int(score)
        best = max([totals[pod] for pod in candidates])
        return self._gateway.any_of([pod for pod in candidates if totals[pod] == best])

    def finished(self, life: Life, now: float) -> None:
        self._prefix.learn(life)

    def poll(self, now: float) -> None:
        self._polled.poll()
        self._review()

    def _review(self) -> None:
        """What changes with the polls only: who is a candidate, and the sum of the polled scores for each pod."""
        metrics = self._polled.metrics
        self._running = [one.running for one in metrics]
        self._candidates = [pod for pod, one in enumerate(metrics) if one.waiting < MAX_WAITING]
        self._sums = [0] * len(metrics)
        for scorer in self._polled_scores if self._candidates else ():
            for pod, score in zip(self._candidates, scorer(self._polled, self._candidates), strict=True):
                self._sums[pod] += int(score)

    def _least_request(self) -> list[int]:
        """For every pod its score by least-request, with the polled ones added."""
        bases = [
            on_flight if on_flight <= running else on_flight + QUEUE_PENALTY * (on_flight - running)
            for on_flight, running in zip(self._gateway.in_flight, self._running, strict=True)
        ]
        most = max([bases[pod] for pod in self._candidates])
        if not most:
            return [others + 100 for others in self._sums]
        return [others + 100 * (most - base) // most for others, base in zip(self._sums, bases, strict=True)]


def gpu_usage(polled: Polled, candidates: Sequence[int]) -> list[float]:
    return [(1.0 - polled.metrics[pod].kv_usage) * 100.0 for pod in candidates]


def least_latency(polled: Polled, candidates: Sequence[int]) -> list[float]:
    firsts = _relative([polled.ttft_s[pod] for pod in candidates])
    nexts = _relative([polled.tpot_s[pod] for pod in candidates])
    return [0.5 * first + 0.5 * following for first, following in zip(firsts, nexts, strict=True)]


def _mean_ttft_s(before: Metrics, after: Metrics) -> float:
    return (after.ttft_total_s - before.ttft_total_s) / (after.ttft_count - before.ttft_count)


def _mean_tpot_s(before: Metrics, after: Metrics) -> float:
    return (after.tpot_total_s - before.tpot_total_s) / (after.tpot_count - before.tpot_count)


def _relative(times_s: list[float | None]) -> list[float]:
    known = [time_s for time_s in times_s if time_s is not None]
    shortest, longest = min(known, default=0.0), max(known, default=0.0)
    spread = longest - shortest
    return [
        WITHOUT_SAMPLES if time_s is None else (100.0 * (longest - time_s) / spread if spread else 100.0)
        for time_s in times_s
    ]
