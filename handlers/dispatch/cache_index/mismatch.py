"""Do the predictions of the index come true? Where they do not, hashes, block sizes or tokenizers differ.

Such a mismatch breaks nothing that one could see: the index just never matches, or matches what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass

from matrixinfer.bus.block_hashes import BLOCK_TOKENS

_KEPT = 0.98
_ENOUGH_SAMPLES = 20
_SUSPECT_SHARE = 0.5


@dataclass(frozen=True)
class Suspicion:
    """Tokens are means over the samples that count, the newest more than the older."""

    pod: str
    predicted_tokens: float
    reported_tokens: float

    def __str__(self) -> str:
        return (
            f"hash, block-size or tokenizer mismatch suspected at pod {self.pod}: predicted "
            f"{self.predicted_tokens:.0f} cached tokens a request, the engine reports {self.reported_tokens:.0f}"
        )


@dataclass
class _Evidence:
    """`count` of samples, and decayed sums: `apart` of the tokens by which both differ, `larger` of the larger."""

    count: int = 0
    samples: float = 0.0
    predicted: float = 0.0
    reported: float = 0.0
    apart: float = 0.0
    larger: float = 0.0

    def add(self, predicted_tokens: int, reported_tokens: int) -> None:
        gap = abs(predicted_tokens - reported_tokens)
        self.count += 1
        self.samples = self.samples * _KEPT + 1
        self.predicted = self.predicted * _KEPT + predicted_tokens
        self.reported = self.reported * _KEPT + reported_tokens
        self.apart = self.apart * _KEPT + (gap if gap > BLOCK_TOKENS else 0)
        self.larger = self.larger * _KEPT + max(predicted_tokens, reported_tokens)


class MismatchCheck:
    """Samples of each pod, each weighing 2 % less than the next; 20 are enough for a judgement.

    A difference of up to one block is none: the index counts whole blocks of 256 tokens, the engine smaller ones, and
    it always computes the last token. Evictions between dispatch and start, and events on their way, are why half of
    the tokens must be wrong before anything is suspected.
    """

    def __init__(self) -> None:
        self._pods: dict[str, _Evidence] = {}

    def observe(self, pod: str, predicted_tokens: int, reported_tokens: int) -> None:
        """A request ended: the exact index predicted so many at dispatch (`KvIndex.cached_tokens`), and
        `Usage.cached_tokens` says so many. Not for pods whose index was doubtful, nor where both are below a block.
        """
        if max(predicted_tokens, reported_tokens) > BLOCK_TOKENS:
            self._pods.setdefault(pod, _Evidence()).add(predicted_tokens, reported_tokens)

    def recall(self, pod: str, predicted_tokens: float, reported_tokens: float) -> None:
        """A predecessor suspected the pod, by these means: that weighs as much as it takes to suspect anybody."""
        samples = float(_ENOUGH_SAMPLES)
        gap, larger = abs(predicted_tokens - reported_tokens), max(predicted_tokens, reported_tokens)
        self._pods[pod] = _Evidence(
            _ENOUGH_SAMPLES,
            samples,
            predicted_tokens * samples,
            reported_tokens * samples,
            gap * samples,
            larger * samples,
        )

    def forget(self, pod: str) -> None:
        """The pod is gone, or has another boot."""
        self._pods.pop(pod, None)

    def suspicions(self) -> list[Suspicion]:
        """Where a mismatch is suspected now, by the pods' names."""
        return [
            Suspicion(pod, seen.predicted / seen.samples, seen.reported / seen.samples)
            for pod, seen in sorted(self._pods.items())
            if seen.count >= _ENOUGH_SAMPLES and seen.apart > _SUSPECT_SHARE * seen.larger
        ]
