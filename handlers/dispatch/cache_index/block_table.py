"""The large half of the index: block hash → number of its holder set, in 20 bytes a block when it is full (18 to 36
before) instead of a dictionary's 80 and more.

Most changes come as some seven blocks a message: there a vectorised table in numpy takes 5 times as long for each block
as this, and 10 times as little only for a dump's thousands.

Open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithms L and R), in segments
of some 2,000 blocks that grow and shrink each for itself: no step of growing or sweeping takes longer than a segment.
Probes go downwards, so that a negative index wraps around by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from matrixinfer.bus.block_hashes import as_numbers

SEGMENT_BLOCKS = 2048
_SMALLEST = 4
_HASH_BITS = 64


class BlockTable:
    """Hashes are 8 bytes each, packed. The hash 0 marks a free slot: it is nobody's block and never stored."""

    def __init__(self, capacity_blocks: int) -> None:
        segment_bits = max(0, (capacity_blocks // SEGMENT_BLOCKS - 1).bit_length())
        self.capacity_blocks = capacity_blocks
        self.segments = 1 << segment_bits
        self.refused_blocks = 0
        """How many blocks found the table full, ever."""
        self._full_slots = capacity_blocks * 5 // (3 * self.segments)
        self._shift = _HASH_BITS - segment_bits
        self._count = 0
        self._counts = [0] * self.segments
        self._keys: list[array[int]] = []
        self._sets: list[array[int]] = []
        for _ in range(self.segments):
            self._keys.append(_zeros("Q", _SMALLEST))
            self._sets.append(_zeros("I", _SMALLEST))

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """Of the slots; each segment has some 200 bytes beside them."""
        return sum(
            len(keys) * (keys.itemsize + sets.itemsize) for keys, sets in zip(self._keys, self._sets, strict=True)
        )

    def find(self, hashes: bytes) -> list[int]:
        """The set of each block, from the first one on, up to the first that nobody has."""
        found = []
        for block in as_numbers(hashes):
            number = block >> self._shift
            keys = self._keys[number]
            at = block % len(keys)
            while (key := keys[at]) != block and key:
                at -= 1
            if not key:
                break
            found.append(self._sets[number][at])
        return found

    def change(self, hashes: bytes, step: Mapping[int, int]) -> None:
        """Give each block the set that `step` says for its present one. The set 0 is nobody: such a block is not kept.

        A full table refuses blocks that it does not know. As chains are told from their beginning on, it loses their
        ends, never their beginnings; and whatever is removed makes room.
        """
        segment_keys, segment_sets, shift, first = self._keys, self._sets, self._shift, step[0]
        for block in as_numbers(hashes):
            number = block >> shift
            keys = segment_keys[number]
            at = block % len(keys)
            while (key := keys[at]) != block and key:
                at -= 1
            if key:
                sets = segment_sets[number]
                old = sets[at]
                new = step[old]
                if new == 0:
                    self._remove(number, at)
                elif new != old:
                    sets[at] = new
            elif first and block:
                if self._count >= self.capacity_blocks:
                    self.refused_blocks += 1
                    continue
                keys[at] = block
                segment_sets[number][at] = first
                self._added(number)

    def sweep(self, number: int, step: Mapping[int, int]) -> None:
        """The same for every block of segment `number`; gives memory back where much of it is free."""
        keys, sets = self._keys[number], self._sets[number]
        changing = {old for old in set(sets) if step[old] != old}
        if changing:
            blocks = array("Q", [key for key, old in zip(keys, sets, strict=True) if old in changing])
            self.change(blocks.tobytes(), step)
        if len(keys) > 2 * self._slots_for(self._counts[number]):
            self._rebuild(number)

    def _added(self, number: int) -> None:
        self._count += 1
        self._counts[number] = count = self._counts[number] + 1
        keys = self._keys[number]
        if 3 * count > 2 * len(keys):
            self._rebuild(number)

    def _remove(self, number: int, at: int) -> None:
        """Free the slot, and move up what was probed past it: no mark of the removed block stays."""
        keys, sets = self._keys[number], self._sets[number]
        size = len(keys)
        hole = probed = at % size
        while key := keys[(probed := probed - 1)]:
            if (key - probed) % size >= (hole - probed) % size:  # its home is not between: it may be in the hole
                keys[hole], sets[hole] = key, sets[probed]
                hole = probed
        keys[hole] = sets[hole] = 0
        self._count -= 1
        self._counts[number] -= 1

    def _rebuild(self, number: int) -> None:
        """Lay the segment out anew."""
        entries = zip(self._keys[number], self._sets[number], strict=True)
        size = self._slots_for(self._counts[number])
        self._keys[number] = keys = _zeros("Q", size)
        self._sets[number] = sets = _zeros("I", size)
        for block, holders in entries:
            if block:
                at = block % size
                while keys[at]:
                    at -= 1
                keys[at] = block
                sets[at] = holders

    def _slots_for(self, blocks: int) -> int:
        """Slots of a segment that has so many: a third full, but no larger than its share of a full table needs."""
        return _SMALLEST + max(min(3 * blocks, self._full_slots), 2 * blocks)


def _zeros(typecode: str, count: int) -> array[int]:
    return array(typecode, bytes(count * array(typecode).itemsize))
