"""A gateway that binds each request to a pod as it comes, as the competitors' do: the queue is then the pod's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.pods import SimulatedPod
from matrixinfer.simulate.port import News, Verdict
from matrixinfer.simulate.workload import Arrival


@dataclass(frozen=True)
class Gateway:
    """What a balancer has to go by: the pods (to scrape when it polls), its own requests under way at each, chance."""

    pods: Sequence[SimulatedPod]
    in_flight: list[int]
    rng: Rng

    def any_of(self, indices: Sequence[int]) -> int:
        """One of them by chance."""
        return indices[int(self.rng.random() * len(indices))] if len(indices) > 1 else indices[0]

    def least_loaded(self) -> int:
        """The one with the fewest requests under way; among equals one by chance."""
        least = min(self.in_flight)
        return self.any_of([index for index, count in enumerate(self.in_flight) if count == least])


class Metrics(NamedTuple):
    """What a scrape of one pod's metrics page finds. Means are not there: totals and counts are."""

    running: int
    waiting: int
    kv_usage: float
    ttft_total_s: float
    ttft_count: int
    tpot_total_s: float
    tpot_count: int


def scrape(pod: SimulatedPod) -> Metrics:
    return Metrics(
        pod.model.running_count,
        pod.model.waiting_count,
        pod.kv_usage,
        pod.ttft_total_s,
        pod.ttft_count,
        pod.tpot_total_s,
        pod.tpot_count,
    )


class Balancer(Protocol):
    """Chooses a pod for each request as it comes. The hooks do nothing unless a balancer needs them."""

    period_s: float = 0.0
    """How often `poll` is called; 0: never."""

    def choose(self, arrival: Arrival, now: float) -> int | None:
        """The pod's index; None: refused."""
        ...

    def started(self, life: Life, now: float) -> None:
        """The first token passed through the gateway."""
        return

    def finished(self, life: Life, now: float) -> None:
        """The answer is complete."""
        return

    def left(self, arrival: Arrival, pod: int) -> None:
        """The client left before the first token, or the pod could not take the request."""
        return

    def poll(self, now: float) -> None:
        """A period went by: time to scrape."""
        return


class Immediate:
    """A policy out of a balancer."""

    def __init__(self, gateway: Gateway, balancer: Balancer) -> None:
        self.period_s = balancer.period_s
        self.first_pod = gateway.pods[0].index
        """Where its pods begin among all of them, which are numbered through."""
        self._in_flight = gateway.in_flight
        self._balancer = balancer
        self._bound: dict[str, int] = {}

    def arrive(self, arrival: Arrival, now: float) -> list[Verdict]:
        index = self._balancer.choose(arrival, now)
        if index is not None:
            self._in_flight[index] += 1
            self._bound[arrival.rid] = index
        return [Verdict(arrival, None if index is None else self.first_pod + index)]

    def heard(self, news: News, now: float) -> list[Verdict]:
        for life in news.started:
            self._balancer.started(life, now)
        for life in news.finished:
            self._in_flight[self._bound.pop(life.arrival.rid)] -= 1
            self._balancer.finished(life, now)
        return []

    def tick(self, now: float) -> list[Verdict]:
        self._balancer.poll(now)
        return []

    def cancel(self, arrival: Arrival, now: float) -> None:
        index = self._bound.pop(arrival.rid, None)
        if index is not None:
            self._in_flight[index] -= 1
            self._balancer.left(arrival, index)
