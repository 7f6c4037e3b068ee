"""The best pair of a PD group for one request: who prefills and who decodes are chosen together.

A pair costs, in seconds: the predicted time to the end of the prefill, with what it costs the others there (the scorer
`predicted_ttft` says how both are reckoned); the transfer of what the decode pod does not have cached itself, by how
close the two are; and the load of the decode pod. The pair that costs least is chosen, among equals one by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from matrixinfer.bus.contracts.decision import Candidate
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.closeness import closeness
from matrixinfer.handlers.dispatch.pairs.transfer import TransferModel
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.candidates import candidates
from matrixinfer.handlers.dispatch.scheduling.port import Choice
from matrixinfer.handlers.dispatch.scheduling.scorers.predicted_ttft import PredictedTtft, PredictedTtftParameters
from matrixinfer.handlers.dispatch.scheduling.scores import RECORDED_CANDIDATES

LOOKED_AT = 12
"""Pods of each half, so up to 144 pairs: with more, a choice costs more than it gains."""

_cost = itemgetter(0)


class Costs(NamedTuple):
    prefill_s: float
    transfer_s: float
    decode_s: float


class Halves(NamedTuple):
    """Pods with room that passed the filters, by what they would do."""

    prefill: Sequence[Pod]
    decode: Sequence[Pod]


class Pairing:
    """Knows pods and caches only by what it is asked with."""

    def __init__(self, transfer: TransferModel) -> None:
        self._transfer = transfer
        self._ttft = PredictedTtft(PredictedTtftParameters())

    def best(
        self, request: Request, halves: Halves, cached: Mapping[str, float], now: float, rng: Rng
    ) -> Choice | None:
        """None when no two of them are of one group. `cached` are the tokens of the prompt in the pods' caches."""
        pairs = self._priced(request, _few(halves, cached, rng), cached, now)
        if not pairs:
            return None
        least_s = min(cost_s for cost_s, *_ in pairs)
        equals = [pair for pair in pairs if pair[0] == least_s]
        winner = equals[int(rng.random() * len(equals))]
        others = sorted((pair for pair in pairs if pair is not winner), key=_cost)
        ranked = [winner, *others[: RECORDED_CANDIDATES - 1]]
        _, prefiller, decoder, _ = winner
        record = [
            Candidate(decode.name, least_s / cost_s if cost_s else 1.0, costs._asdict(), prefill.name)
            for cost_s, prefill, decode, costs in ranked
        ]
        cached_tokens = min(int(cached.get(prefiller.name, 0)), request.prompt_tokens)
        return Choice(decoder, record, cached_tokens, prefill=prefiller)

    def _priced(
        self, request: Request, halves: Halves, cached: Mapping[str, float], now: float
    ) -> list[tuple[float, Pod, Pod, Costs]]:
        """Every pair of one group, with what it costs in all and in part."""
        by_group: defaultdict[str, list[tuple[Pod, float]]] = defaultdict(list)
        for pod in halves.prefill:
            by_group[pod.pd_group].append((pod, self._ttft.cost_s(pod, uncached_tokens(request, pod, cached), now)))
        pairs = []
        for decode in halves.decode:
            tokens, decode_s = uncached_tokens(request, decode, cached), self._ttft.load_s(decode)
            for prefill, prefill_s in by_group[decode.pd_group]:
                close = closeness(prefill.topology, decode.topology)
                costs = Costs(prefill_s, self._transfer.seconds(tokens, close, now), decode_s)
                pairs.append((sum(costs), prefill, decode, costs))
        return pairs


def uncached_tokens(request: Request, pod: Pod, cached: Mapping[str, float]) -> int:
    """Of the prompt, those that the pod would have to compute or to get."""
    return max(0, request.prompt_tokens - int(cached.get(pod.name, 0)))


def _few(halves: Halves, cached: Mapping[str, float], rng: Rng) -> Halves:
    """Of each half some that hold much of the prompt, are little loaded, or come by chance; those that decode are of
    the groups of those that prefill."""
    groups = {pod.pd_group for pod in halves.decode}
    able = [pod for pod in halves.prefill if pod.pd_group in groups]
    prefill = candidates(able, cached, frozenset(), LOOKED_AT, rng)
    groups = {pod.pd_group for pod in prefill}
    near = [pod for pod in halves.decode if pod.pd_group in groups]
    return Halves(prefill, candidates(near, cached, frozenset(), LOOKED_AT, rng))
