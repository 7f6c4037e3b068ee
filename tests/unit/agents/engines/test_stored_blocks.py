"""Prompt blocks that several engines keep together."""

from __future__ import annotations

import os
from pathlib import Path

from matrixinfer.agents.engines.simulated.stored_blocks import StoredBlocks

BLOCKS = [bytes([n]) * 8 for n in range(8)]


def test_what_one_stores_another_finds_from_the_beginning_on(tmp_path: Path) -> None:
    StoredBlocks(tmp_path / "cache").store([BLOCKS[0], BLOCKS[1], BLOCKS[3]])
    other = StoredBlocks(tmp_path / "cache")
    assert other.hit(BLOCKS) == 2
    assert other.hit(BLOCKS[3:4]) == 1
    assert other.hit(BLOCKS[2:]) == 0
    assert other.hit([]) == 0


def test_too_many_blocks_make_room_and_the_longest_unused_go(tmp_path: Path) -> None:
    stored = StoredBlocks(tmp_path, most_blocks=4)
    for age, block in enumerate(BLOCKS[:4]):
        stored.store([block])
        os.utime(tmp_path / block.hex(), (1000 + age, 1000 + age))
    stored.store(BLOCKS[4:])
    assert [stored.hit([block]) for block in BLOCKS[:4]] == [0] * 4
    assert len(list(tmp_path.iterdir())) <= 4
