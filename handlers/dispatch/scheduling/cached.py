"""What is known of one prompt in the pods' caches, and the question to the scorers that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Knowledge


class Cached(NamedTuple):
    """What is known of a prompt in the pods' caches: tokens by the pods' names, of those that hold some.

    Of a pod whose engine tells only that counts, also where it is nothing: what was sent there is evicted by now, or
    was never computed. What was sent a moment ago, of which it cannot have told yet, the exact knowledge holds itself.
    """

    exact: Mapping[str, float]
    approximate: Mapping[str, float]
    tells: Callable[[str], bool]
    """Does this pod's engine tell what it holds, in blocks as this prompt has them?"""

    @classmethod
    def of(cls, request: Request, knowledge: Knowledge) -> Cached:
        hashes, exact, approximate = request.block_hashes, knowledge.exact, knowledge.approximate
        return cls(
            exact.matches(hashes) if exact and hashes else {},
            approximate.matches(hashes) if approximate and hashes else {},
            (exact.knows if request.tokenized else exact.knows_bytes) if exact else _nobody_tells,
        )

    def believed(self) -> Mapping[str, float]:
        """The better knowledge of each pod: the tokens of `ask`, before they are bounded by the prompt."""
        tells, exact, approximate = self.tells, self.exact, self.approximate
        if tells is _nobody_tells or not approximate:
            return exact or approximate
        untold = [pod for pod in approximate.keys() - exact.keys() if not tells(pod)]
        return {**exact, **{pod: approximate[pod] for pod in untold}} if untold else exact

    def ask(self, request: Request, pods: Sequence[Pod], now: float, everyone: Sequence[Pod]) -> Ask:
        """None of the tokens are more than the prompt has."""
        exact, approximate, tells, most = self.exact, self.approximate, self.tells, request.prompt_tokens
        names = [pod.name for pod in pods]
        told = [min(int(exact[name]), most) if name in exact else 0 if tells(name) else None for name in names]
        guessed = [min(int(approximate[name]), most) if name in approximate else 0 for name in names]
        better = [guess if tell is None else tell for tell, guess in zip(told, guessed, strict=True)]
        return Ask(request, pods, better, told, guessed, now, everyone)


def _nobody_tells(_: str) -> bool:
    return False
