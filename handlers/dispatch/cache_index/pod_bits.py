"""Which bit stands for which pod in every set of holders."""

from __future__ import annotations

import heapq
from itertools import compress

_KNOWN = 1024
_BITS_OF_TEXT = bytes.maketrans(b"01", b"\x00\x01")


class PodBits:
    """A bit that was taken from its pod stands for nobody, and for nobody else before it was cleaned everywhere.

    `live` has the bits of all pods; `retired` those that wait for being cleaned.
    """

    def __init__(self) -> None:
        self.live = 0
        self.retired = 0
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._free: list[int] = []
        self._known: dict[int, list[str]] = {}  # the same pods share the same prompts again and again

    def __contains__(self, pod: str) -> bool:
        return pod in self._numbers

    def bit_of(self, pod: str) -> int:
        """The pod's bit; a pod that has none gets one, the lowest free."""
        number = self._numbers.get(pod)
        if number is None:
            number = heapq.heappop(self._free) if self._free else len(self._names)
            self._known.clear()
            self._names[number : number + 1] = [pod]
            self._numbers[pod] = number
            self.live |= 1 << number
        return 1 << number

    def retire(self, pod: str) -> None:
        """Take the pod's bit from it, if it has one."""
        number = self._numbers.pop(pod, None)
        if number is not None:
            self.live ^= 1 << number
            self.retired |= 1 << number

    def free(self, cleaned: int) -> None:
        """These retired bits are in no set any more."""
        self.retired &= ~cleaned
        for number in numbers_of(cleaned):
            heapq.heappush(self._free, number)

    def names_of(self, bits: int) -> list[str]:
        """The pods of live `bits`, in the order of the bits."""
        names = self._known.get(bits)
        if names is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            names = self._known[bits] = list(compress(self._names, _digits(bits)))
        return names


def numbers_of(bits: int) -> list[int]:
    return [number for number, digit in enumerate(_digits(bits)) if digit]


def _digits(bits: int) -> bytes:
    """The binary digits as bytes 0 and 1, the lowest first."""
    return f"{bits:b}"[::-1].encode().translate(_BITS_OF_TEXT)
