"""The approximate index of one pool: what each pod's cache must hold by what dispatch sent there.

It serves where engines tell nothing. A block is assumed cached from the moment that its prompt was placed, and gone
when the pod got so many others that the engine must have evicted it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from matrixinfer.bus.block_hashes import BLOCK_TOKENS, as_numbers
from matrixinfer.handlers.dispatch.cache_index.longest_run import in_a_row, longest_runs
from matrixinfer.handlers.dispatch.cache_index.pod_bits import PodBits


@dataclass
class _Memory:
    """What one pod is assumed to hold: block → when it was last sent there, the longest unused first."""

    bit: int
    capacity_blocks: int
    blocks: OrderedDict[int, float] = field(default_factory=OrderedDict)


class ApproximateIndex:
    """For each pod at most its capacity in blocks, of about 200 bytes each, forgotten the longest unused first.

    `capacity_blocks` is that of a pod of which nothing else was said; the default is 1 M tokens. What was not used for
    `keep_s` seconds is forgotten too, however large the cache is.
    """

    def __init__(self, capacity_blocks: int = 4096, keep_s: float = 3600.0) -> None:
        self._capacity_blocks = capacity_blocks
        self._keep_s = keep_s
        self._bits = PodBits()
        self._pods: dict[str, _Memory] = {}
        self._holders: dict[int, int] = {}

    def __len__(self) -> int:
        """Different blocks known."""
        return len(self._holders)

    def resize(self, pod: str, capacity_blocks: int) -> None:
        """The pod's cache holds so many blocks."""
        memory = self._memory_of(pod)
        memory.capacity_blocks = capacity_blocks
        self._evict(memory, 0.0)

    def record(self, pod: str, hashes: bytes, now: float) -> None:
        """The prompt with these blocks (8 bytes each) goes to the pod."""
        memory = self._memory_of(pod)
        blocks, holders, bit = memory.blocks, self._holders, memory.bit
        prompt = as_numbers(hashes).tolist()
        for block in reversed(prompt):  # its end is forgotten before its beginning
            if block not in blocks:
                known = holders.setdefault(block, bit)
                if known is not bit:
                    holders[block] = known | bit
            else:
                blocks.move_to_end(block)
            blocks[block] = now
        self._evict(memory, now - self._keep_s)

    def sweep(self, now: float) -> None:
        """Forget what nobody used for long. To be called now and then; the time goes with what is forgotten."""
        for memory in self._pods.values():
            self._evict(memory, now - self._keep_s)

    def dropped(self, pod: str) -> None:
        """The pod is gone, or is new under an old name. The time goes with what it held."""
        memory = self._pods.pop(pod, None)
        if memory is not None:
            memory.capacity_blocks = 0
            self._evict(memory, 0.0)
            self._bits.retire(pod)
            self._bits.free(memory.bit)

    def matches(self, hashes: bytes) -> dict[str, float]:
        """For each pod that must have the prompt's first block: tokens of its longest run from there."""
        holders, prompt = self._holders, as_numbers(hashes)
        if not prompt or prompt[0] not in holders:
            return {}
        masks = [holders.get(block, 0) for block in prompt.tolist()]
        steps = (((mask,), count) for mask, count in in_a_row(masks))
        scores: dict[str, float] = {}
        for pods, blocks in longest_runs(self._bits.live, steps, (1.0,)):
            tokens = blocks * BLOCK_TOKENS
            for name in self._bits.names_of(pods):
                scores[name] = tokens
        return scores

    def _memory_of(self, pod: str) -> _Memory:
        memory = self._pods.get(pod)
        if memory is None:
            memory = self._pods[pod] = _Memory(self._bits.bit_of(pod), self._capacity_blocks)
        return memory

    def _evict(self, memory: _Memory, unused_since: float) -> None:
        blocks, holders = memory.blocks, self._holders
        surplus = len(blocks) - memory.capacity_blocks
        while surplus > 0 or (blocks and blocks[next(iter(blocks))] < unused_since):
            block, _ = blocks.popitem(last=False)
            left = holders[block] ^ memory.bit
            if left:
                holders[block] = left
            else:
                del holders[block]
            surplus -= 1
