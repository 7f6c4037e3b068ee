"""How much of a prompt each pod has: the longest run of blocks from the first one on, of all pods at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Run = tuple[int, float]
"""These pods, as bits, hold as much: so many blocks, each weighted by its tier."""


def longest_runs(pods: int, steps: Iterable[tuple[Sequence[int], int]], weights: Sequence[float]) -> list[Run]:
    """The runs of all `pods` that hold the first block; each pod is in one of them.

    `steps` are the chain's blocks in their order, those with the same holders together: for each tier (the best first)
    the pods that hold them there, and how many they are. Pods with the same past stay together as bits, so the time
    goes with the different pasts, not with the pods. A pod that holds a block in several tiers gets the first's weight.
    """
    ended: list[Run] = []
    running: list[Run] = [(pods, 0.0)]
    for tiers, blocks in steps:
        going: list[Run] = []
        for together, weighted in running:
            rest = together
            for held, weight in zip(tiers, weights):  # noqa: B905  # strict costs a tenth of the whole lookup
                if held and (here := rest & held):
                    going.append((here, weighted + weight * blocks))
                    rest ^= here
            if rest:
                ended.append((rest, weighted))
        running = going
        if not running:
            break
    return [run for run in ended + running if run[1]]


def in_a_row(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Each number, and how many times it follows itself: `1 1 2 1` is `(1, 2) (2, 1) (1, 1)`."""
    found: list[tuple[int, int]] = []
    last, count = -1, 0
    for number in numbers:
        if number != last and count:
            found.append((last, count))
            count = 0
        last = number
        count += 1
    return [*found, (last, count)] if count else found
