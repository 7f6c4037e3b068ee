"""What an agent says of its engine's cache, and how those who missed some of it catch up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache
from matrixinfer.agents.engines.simulated.told_cache import ToldCache
from matrixinfer.agents.worker import cache_diary
from matrixinfer.agents.worker.cache_diary import KEPT_DUMPS, CacheDiary
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.contracts.cache import BlocksRemoved, BlocksStored, CacheChange, CacheCleared
from matrixinfer.bus.contracts.control import CacheDump, CacheDumped

ME = Identity("ns", "pod", "boot")


class ScriptedTeller:
    """Holds what the test puts there."""

    def __init__(self) -> None:
        self.blocks: list[BlocksStored] = []
        self.changes: list[CacheChange] = []

    def store(self, hashes: bytes) -> None:
        self.blocks.append(BlocksStored(hashes))
        self.changes.append(BlocksStored(hashes))

    def take_cache_changes(self) -> list[CacheChange]:
        taken, self.changes = self.changes, []
        return taken

    def cached_blocks(self) -> list[BlocksStored]:
        return list(self.blocks)


def block(number: int) -> bytes:
    return number.to_bytes(8, "big")


def test_changes_count_and_reminders_repeat_the_last_count_once_a_second() -> None:
    teller = ScriptedTeller()
    diary = CacheDiary(ME, teller)
    said = []
    for eighth in range(21):
        if eighth == 3:
            teller.store(block(1))
        if (event := diary.compose(eighth / 8)) is not None:
            said.append((eighth, event.sequence, event.changes))
    assert said == [(0, 0, []), (3, 1, [BlocksStored(block(1))]), (11, 1, []), (19, 1, [])]


def test_who_cannot_tell_says_nothing_and_dumps_nothing() -> None:
    diary = CacheDiary(ME, None)
    assert diary.compose(0.0) is None
    assert diary.dumped(CacheDump()) == CacheDumped("boot", 0)


def test_a_dump_comes_in_chunks_that_follow_each_other(monkeypatch) -> None:
    monkeypatch.setattr(cache_diary, "CHUNK_BLOCKS", 2)
    teller = ScriptedTeller()
    teller.store(b"".join(map(block, range(5))))
    diary = CacheDiary(ME, teller)
    diary.compose(0.0)
    first = diary.dumped(CacheDump())
    second = diary.dumped(CacheDump(first.sequence, first.more))
    third = diary.dumped(CacheDump(second.sequence, second.more))
    assert [(each.sequence, each.cursor) for each in (first, second, third)] == [(1, 0), (1, 1), (1, 2)]
    assert third.more == 0
    dumped = [change.hashes for each in (first, second, third) for change in each.blocks]
    assert dumped == [block(0) + block(1), block(2) + block(3), block(4)]


def test_a_dump_under_way_stays_as_it_was_whatever_changes_and_whoever_else_asks(monkeypatch) -> None:
    monkeypatch.setattr(cache_diary, "CHUNK_BLOCKS", 1)
    teller = ScriptedTeller()
    teller.store(block(0) + block(1))
    diary = CacheDiary(ME, teller)
    diary.compose(0.0)
    mine = diary.dumped(CacheDump())
    teller.blocks.insert(0, BlocksStored(block(9)))
    assert diary.dumped(CacheDump()) == mine, "not told yet: the same state serves another"
    teller.changes.append(BlocksStored(block(9)))
    diary.compose(0.1)
    assert diary.dumped(CacheDump()).sequence == 2
    assert diary.dumped(CacheDump(1, mine.more)).blocks == [BlocksStored(block(1))]


def test_one_that_asks_for_a_state_too_old_begins_again_with_a_newer_one() -> None:
    teller = ScriptedTeller()
    diary = CacheDiary(ME, teller)
    for number in range(KEPT_DUMPS + 1):
        teller.store(block(number))
        diary.compose(float(number))
        diary.dumped(CacheDump())
    assert diary.dumped(CacheDump(1, 1)) == diary.dumped(CacheDump())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True)),
        st.tuples(st.just("tell"), st.none()),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=30,
)


@given(steps, st.integers(0, 30))
def test_a_dump_and_the_events_after_it_give_what_the_cache_holds(steps, dump_at: int) -> None:
    """Wherever the dump falls between two events."""
    cache = PrefixCache(30, 10)
    told = ToldCache(cache)
    diary = CacheDiary(ME, told)
    known: set[bytes] = set()
    sequence = None
    for number, (what, blocks) in enumerate([*steps, ("tell", None), ("tell", None)]):
        if number == min(dump_at, len(steps)):
            dump = diary.dumped(CacheDump())
            known, sequence = set().union(*[split(each.hashes) for each in dump.blocks]), dump.sequence
        if what == "run":
            use(cache, [block(each) for each in blocks])
        elif what == "restart":
            cache = PrefixCache(30, 10)
            told.replace(cache)
        elif (event := diary.compose(0.0)) is not None and sequence is not None and event.sequence > sequence:
            known = applied(known, event.changes)
    assert known == split(cache.blocks())


def use(cache: PrefixCache, blocks: list[bytes]) -> None:
    hit = blocks[: cache.hit(blocks)]
    fresh = blocks[len(hit) :]
    assert cache.reserve(hit, len(fresh) * 10)
    cache.publish(fresh)
    cache.release(blocks, 0)


def split(hashes: bytes) -> set[bytes]:
    return {hashes[start : start + 8] for start in range(0, len(hashes), 8)}


def applied(known: set[bytes], changes: list[CacheChange]) -> set[bytes]:
    for change in changes:
        match change:
            case BlocksStored():
                known = known | split(change.hashes)
            case BlocksRemoved():
                known = known - split(change.hashes)
            case CacheCleared():
                known = set()
    return known


def test_of_an_engine_that_names_blocks_by_their_tokens_every_event_says_so() -> None:
    diary = CacheDiary(ME, ScriptedTeller(), tokens_only=True)
    assert [diary.compose(now).tokens_only for now in (0.0, 1.0)] == [True, True]
    assert not CacheDiary(ME, ScriptedTeller()).compose(0.0).tokens_only
