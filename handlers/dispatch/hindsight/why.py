"""Why a pod was chosen and not the next best one, in one sentence for a person."""

from __future__ import annotations

from collections.abc import Mapping

from matrixinfer.bus.contracts.decision import Candidate, Decision
from matrixinfer.handlers.dispatch.hindsight.rebuild import Expected

_EQUAL = 1e-9
_TOLD = 0.005
"""Smaller differences of scores would read as equal."""


def why(decision: Decision, by_pod: Mapping[str, Expected]) -> str:
    """`by_pod` is what was expected of each candidate; it may be empty."""
    if decision.prefill_pod:
        return _why_pair(decision)
    winner = next((each for each in decision.candidates if each.pod == decision.pod), None)
    others = [each for each in decision.candidates if each.pod != decision.pod]
    if winner is None:
        return "The record does not say among which pods it was chosen."
    if not others:
        return f"{winner.pod} was the only pod with room that the filters let through."
    second = max(others, key=lambda each: each.score)
    lead = winner.score - second.score
    if abs(lead) <= _EQUAL:
        equals = sum(1 for each in others if abs(each.score - winner.score) <= _EQUAL)
        return f"{winner.pod} was as good as {equals} other{'s' if equals > 1 else ''}: chance took it."
    if lead < 0:
        return (
            f"{winner.pod} was drawn by the picker, though {second.pod} scored {second.score:.3f} against its "
            f"{winner.score:.3f}."
        )
    return f"{winner.pod} beat {second.pod} by {lead:.3f}{_scores(winner, second)}{_facts(winner, second, by_pod)}."


def _why_pair(decision: Decision) -> str:
    """The scores of pairs are seconds: what each part costs."""
    chosen = (decision.prefill_pod, decision.pod)
    winner = next((each for each in decision.candidates if (each.prefill_pod, each.pod) == chosen), None)
    others = [each for each in decision.candidates if each is not winner]
    if winner is None:
        return "The record does not say among which pairs it was chosen."
    if not others:
        return "It was the only pair with room that the filters let through."
    second = max(others, key=lambda each: each.score)
    cost_s, second_s = sum(winner.scores.values()), sum(second.scores.values())
    if second_s - cost_s <= _EQUAL:
        return f"{pair_name(winner)} cost no less than {pair_name(second)}: chance took it."
    cheaper = {name: second.scores.get(name, 0.0) - seconds for name, seconds in winner.scores.items()}
    most = max(cheaper, key=lambda name: cheaper[name])
    return (
        f"{pair_name(winner)} beat {pair_name(second)}: {cost_s:.3f} s against {second_s:.3f} s, most of it by "
        f"{most.removesuffix('_s')} ({winner.scores[most]:.3f} s against {second.scores.get(most, 0.0):.3f} s)."
    )


def pair_name(candidate: Candidate) -> str:
    return f"{candidate.prefill_pod} → {candidate.pod}"


def _scores(winner: Candidate, second: Candidate) -> str:
    """Those that speak for the winner, the strongest first, and those that spoke against it."""
    leads = {name: score - second.scores.get(name, 0.0) for name, score in winner.scores.items()}
    names = sorted(leads, key=lambda name: -abs(leads[name]))
    ahead = [name for name in names if leads[name] >= _TOLD]
    behind = [name for name in names if leads[name] <= -_TOLD]

    def told(name: str) -> str:
        return f"{name} {winner.scores[name]:.2f} against {second.scores.get(name, 0.0):.2f}"

    said = f": {', '.join(map(told, ahead))}" if ahead else ""
    return said + (f", in spite of {', '.join(map(told, behind))}" if behind else "")


def _facts(winner: Candidate, second: Candidate, by_pod: Mapping[str, Expected]) -> str:
    """What differs between the two, as expected: first what is better at the winner, then what is worse."""
    one, other = by_pod.get(winner.pod), by_pod.get(second.pod)
    if one is None or other is None:
        return ""
    gains = [
        (other.ttft_s - one.ttft_s, f"first token after {one.ttft_s:.3f} s against {other.ttft_s:.3f} s"),
        (
            one.cached_tokens - other.cached_tokens,
            f"{one.cached_tokens:,} tokens cached against {other.cached_tokens:,}",
        ),
        (other.load - one.load, f"{one.load:.0%} of its slots in use against {other.load:.0%}"),
    ]
    better, worse = [told for gain, told in gains if gain > 0], [told for gain, told in gains if gain < 0]
    said = f"; expected: {', '.join(better)}" if better else ""
    return said + (f"; worse: {', '.join(worse)}" if worse else "")
