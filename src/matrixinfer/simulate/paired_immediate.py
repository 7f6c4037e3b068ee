"""A gateway that binds each request to a pair as it comes: each half by the same rule, whatever the prompt's length."""

from __future__ import annotations

from dataclasses import replace

from matrixinfer.simulate.immediate import Immediate
from matrixinfer.simulate.port import News, Verdict
from matrixinfer.simulate.workload import Arrival


class PairedImmediate:
    """A policy out of two: one for the pods that prefill, one for those that decode. All pods are one PD group."""

    def __init__(self, prefill: Immediate, decode: Immediate) -> None:
        self.period_s = max(prefill.period_s, decode.period_s)
        self._prefill = prefill
        self._decode = decode

    def arrive(self, arrival: Arrival, now: float) -> list[Verdict]:
        (prefill,), (decode,) = self._prefill.arrive(arrival, now), self._decode.arrive(arrival, now)
        if prefill.pod is None or decode.pod is None:
            self.cancel(arrival, now)
            return [Verdict(arrival, None)]
        return [Verdict(arrival, decode.pod, prefill.pod)]

    def heard(self, news: News, now: float) -> list[Verdict]:
        """Of the prefill half the gateway sees one answer, which is its first token and its end. A rule knows its own
        pods only, by their place among them."""
        if news.prefilled:
            first, pods = self._prefill.first_pod, news.prefilled
            ended = [replace(life, pod=life.prefill_pod - first, first_token_at=now, ended_at=now) for life in pods]
            self._prefill.heard(News(news.pod, ended, ended, []), now)
        if news.started or news.finished:
            first = self._decode.first_pod
            started, finished = (
                [replace(life, pod=life.pod - first) for life in lives] for lives in (news.started, news.finished)
            )
            self._decode.heard(News(news.pod, started, finished, []), now)
        return []

    def tick(self, now: float) -> list[Verdict]:
        return [*self._prefill.tick(now), *self._decode.tick(now)]

    def cancel(self, arrival: Arrival, now: float) -> None:
        self._prefill.cancel(arrival, now)
        self._decode.cancel(arrival, now)
