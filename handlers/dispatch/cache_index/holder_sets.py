"""The small half of the index: the sets of pods that hold a block, each kept once and known by a number.

Millions of blocks have few different sets of holders: most are at one pod, and the blocks of one prefix are where its
prompts went. What happens to a block is a step from one set's number to another's, worked out once and then looked up.
"""

from __future__ import annotations

from typing import NamedTuple

NOBODY = 0
"""The number of the empty set."""

_CENSUS_SETS = 1024


class Holders(NamedTuple):
    """For each tier the pods that hold the block there, as bits. The fields are the tiers' names, the fastest first."""

    gpu: int = 0
    cpu: int = 0
    disk: int = 0


TIERS = Holders._fields


class HolderSets:
    """At most `limit` sets. Beyond it a block's new set is not noted: it keeps a smaller one, or none.

    So a full table makes the index claim less than there is, never more. `begin_census` and `end_census` find the sets
    that no block has any more; what is `banned` meanwhile leaves every set that is stepped to.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._numbers: dict[Holders, int] = {Holders(): NOBODY}
        self.by_number: list[Holders] = [Holders()]
        self._free: list[int] = []
        self._steps: dict[tuple[int, int, bool], Step] = {}
        self._banned = 0
        self._in_use: set[int] = {NOBODY}
        self._worked_out = 0
        self._counted = 1

    def __len__(self) -> int:
        return len(self._numbers)

    def storing(self, bit: int, tier: int) -> Step:
        """What a block's set becomes when the pod of this one bit stores it in tier number `tier`."""
        return self._step(bit, tier, True)

    def removing(self, bit: int, tier: int) -> Step:
        return self._step(bit, tier, False)

    def is_census_due(self) -> bool:
        """Is there so much that may be forgotten that looking for it pays?"""
        return len(self._numbers) > 2 * self._counted + _CENSUS_SETS or self._worked_out > self._limit

    def begin_census(self, banned: int) -> Step:
        """The step that every block must take before the census ends: it strips it of the `banned` bits."""
        self._banned = banned
        self._in_use = {NOBODY}
        self._steps.clear()  # as every step has to be worked out again, every set still stepped to is counted
        return Step(self, 0, 0, False)

    def end_census(self) -> None:
        """Forget the sets that no block took a step to."""
        for holders, number in list(self._numbers.items()):
            if number not in self._in_use:
                del self._numbers[holders]
                self.by_number[number] = Holders()
                self._free.append(number)
        self._banned = 0
        self._steps.clear()
        self._worked_out = 0
        self._counted = len(self._numbers)

    def reach(self, old: int, bit: int, tier: int, stores: bool) -> int:
        """The number of the set that `old` becomes."""
        self._worked_out += 1
        tiers = [pods & ~self._banned for pods in self.by_number[old]]
        spare = Holders(*tiers)
        tiers[tier] = tiers[tier] | bit if stores else tiers[tier] & ~bit
        number = self._number_of(Holders(*tiers))
        if number is None and stores:  # no room to note one pod more
            number = self._number_of(spare)
        reached = NOBODY if number is None else number
        self._in_use.add(reached)
        return reached

    def _number_of(self, holders: Holders) -> int | None:
        number = self._numbers.get(holders)
        if number is None and len(self._numbers) < self._limit:
            number = self._free.pop() if self._free else len(self.by_number)
            self._numbers[holders] = number
            self.by_number[number : number + 1] = [holders]
        return number

    def _step(self, bit: int, tier: int, stores: bool) -> Step:
        step = self._steps.get((bit, tier, stores))
        if step is None:
            step = self._steps[bit, tier, stores] = Step(self, bit, tier, stores)
        return step


class Step(dict[int, int]):
    """Number of a set → number of the set after the step. Filled as it is asked; valid until the next census event."""

    def __init__(self, sets: HolderSets, bit: int, tier: int, stores: bool) -> None:
        super().__init__()
        self._sets, self._bit, self._tier, self._stores = sets, bit, tier, stores

    def __missing__(self, old: int) -> int:
        new = self[old] = self._sets.reach(old, self._bit, self._tier, self._stores)
        return new
