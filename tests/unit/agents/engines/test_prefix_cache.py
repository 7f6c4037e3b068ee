"""What the prefix cache keeps and what it lets go."""

from __future__ import annotations

from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache

A, B, C = b"a", b"b", b"c"


def used_once(cache: PrefixCache, *blocks: bytes) -> None:
    assert cache.reserve((), len(blocks) * cache.block_tokens)
    cache.publish(blocks)
    cache.release(blocks, 0)


def test_blocks_are_found_from_the_beginning_only() -> None:
    cache = PrefixCache(40, 10)
    used_once(cache, A, B)
    assert cache.hit((A, B, C)) == 2
    assert cache.hit((B,)) == 1
    assert cache.hit((C, A)) == 0


def test_the_longest_unused_goes_first_and_of_one_prompt_the_end() -> None:
    cache = PrefixCache(30, 10)
    used_once(cache, A, B)
    used_once(cache, C)
    assert cache.reserve((), 10)
    assert (cache.hit((A, B)), cache.hit((C,))) == (1, 1)
    assert cache.reserve((), 10)
    assert (cache.hit((A,)), cache.hit((C,))) == (0, 1)


def test_a_block_in_use_is_never_evicted() -> None:
    cache = PrefixCache(30, 10)
    used_once(cache, A)
    assert cache.reserve((A,), 10)
    assert not cache.reserve((), 11)
    assert cache.reserve((), 10)
    assert cache.hit((A,)) == 1


def test_a_block_that_two_made_at_once_is_kept_once() -> None:
    cache = PrefixCache(40, 10)
    assert cache.reserve((), 20)
    cache.publish((A,))
    cache.publish((A,))
    assert cache.used_tokens == 10
    cache.release((A,), 0)
    assert cache.busy_tokens == 10
    cache.release((A,), 0)
    assert (cache.busy_tokens, cache.used_tokens) == (0, 10)
