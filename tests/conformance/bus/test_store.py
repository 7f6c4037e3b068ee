"""What Store promises, kept by both adapters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from matrixinfer.bus.errors import Conflict, Malformed, TooLarge, Unavailable
from matrixinfer.bus.ports import Change, Store, Watch
from support.bus_rig import Rig


@pytest.fixture
def store(rig: Rig) -> Store:
    return rig.bus.store("SERVING")


@contextlib.asynccontextmanager
async def watching(store: Store, prefix: str = "") -> AsyncIterator[tuple[Watch, list[Change]]]:
    watch = await store.watch(prefix)
    changes: list[Change] = []

    async def collect() -> None:
        async for change in watch:
            changes.append(change)

    task = asyncio.create_task(collect())
    try:
        yield watch, changes
    finally:
        await watch.close()
        async with asyncio.timeout(5.0):
            await task  # iteration ends after close


def told(changes: list[Change]) -> list[tuple[str, bytes | None]]:
    return [(c.key, c.entry.value if c.entry else None) for c in changes]


async def test_what_was_never_put_is_not_there(store: Store) -> None:
    assert await store.get("route.a") is None


async def test_revisions_grow_over_the_whole_bucket(store: Store) -> None:
    first = await store.put("route.a", b"1")
    second = await store.put("route.b", b"2")
    third = await store.put("route.a", b"3")
    assert first < second < third
    entry = await store.get("route.a")
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == ("route.a", b"3", third)


async def test_compare_and_set_takes_the_right_revision_only(store: Store) -> None:
    first = await store.put("k", b"1", revision=0)
    with pytest.raises(Conflict):
        await store.put("k", b"again", revision=0)
    second = await store.put("k", b"2", revision=first)
    with pytest.raises(Conflict):
        await store.put("k", b"late", revision=first)
    entry = await store.get("k")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"2", second)


async def test_of_many_writers_with_one_revision_one_wins(rig: Rig, store: Store) -> None:
    stores = [store, rig.other.store("SERVING")]
    writes = [stores[n % 2].put("k", b"%d" % n, revision=0) for n in range(10)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 9


async def test_a_deleted_key_is_gone_and_can_be_created_again(store: Store) -> None:
    revision = await store.put("k", b"1")
    await store.delete("k")
    assert await store.get("k") is None
    with pytest.raises(Conflict):
        await store.put("k", b"2", revision=revision)
    assert await store.put("k", b"3", revision=0) > revision
    await store.delete("never")


async def test_deleting_with_a_revision_deletes_that_one_only(store: Store) -> None:
    first = await store.put("k", b"1")
    second = await store.put("k", b"2")
    with pytest.raises(Conflict):
        await store.delete("k", revision=first)
    await store.delete("k", revision=second)
    assert await store.get("k") is None
    with pytest.raises(Conflict):
        await store.delete("k", revision=second)


async def test_a_value_over_the_buckets_limit_is_too_large(rig: Rig) -> None:
    with pytest.raises(TooLarge):
        await rig.bus.store("LEASES").put("k", b"x" * 5000)


async def test_a_value_goes_after_its_time_to_live_and_can_be_created_again(rig: Rig, store: Store) -> None:
    await store.put("k", b"1", ttl_s=1.0)
    async with watching(store) as (_, changes):
        await rig.until(lambda: changes, within_s=3.0)
        assert told(changes) == [("k", None)]
    assert await store.get("k") is None
    await store.put("k", b"2", revision=0)


async def test_a_later_put_starts_the_time_to_live_anew(rig: Rig, store: Store) -> None:
    await store.put("short", b"1", ttl_s=1.0)
    await store.put("short", b"2")
    await store.put("long", b"1", ttl_s=1.0)
    await store.put("long", b"2", ttl_s=60.0)
    await store.put("measure", b"", ttl_s=1.0)
    await rig.until(lambda: is_gone(store, "measure"))
    assert {k: e.value for k, e in (await store.entries()).items()} == {"short": b"2", "long": b"2"}


async def test_entries_are_found_by_whole_tokens(store: Store) -> None:
    for key in ("pool.a", "pool.a.b", "pool.ab", "pod.a", "pool"):
        await store.put(key, key.encode())
    await store.put("pool.gone", b"")
    await store.delete("pool.gone")
    assert sorted(await store.entries("pool")) == ["pool", "pool.a", "pool.a.b", "pool.ab"]
    assert sorted(await store.entries("pool.a")) == ["pool.a", "pool.a.b"]
    assert len(await store.entries()) == 5
    assert (await store.entries("pod"))["pod.a"].value == b"pod.a"
    assert await store.entries("nothing") == {}


async def test_many_entries_are_all_read(store: Store) -> None:
    await asyncio.gather(*(store.put(f"k.{n}", b"x" * 1000) for n in range(3000)))
    assert len(await store.entries("k")) == 3000


async def test_a_watch_begins_with_what_is_there_and_goes_on_without_a_gap(rig: Rig, store: Store) -> None:
    other = rig.other.store("SERVING")
    await store.put("route.a", b"1")
    await store.put("pool.a", b"1")
    async with watching(store, "route") as (watch, changes):
        assert {k: e.value for k, e in watch.snapshot.items()} == {"route.a": b"1"}
        await other.put("route.b", b"2")
        await other.put("pool.b", b"2")
        await other.put("route.a", b"3")
        await other.delete("route.b")
        await rig.until(lambda: len(changes) == 4 or len(changes) == 3)
        assert told(changes) == [("route.b", b"2"), ("route.a", b"3"), ("route.b", None)]
        entry = changes[1].entry
        assert entry is not None
        assert entry.revision > watch.snapshot["route.a"].revision


async def test_changes_and_deletions_have_the_revisions_of_the_bucket_in_order(rig: Rig, store: Store) -> None:
    async with watching(store) as (_, changes):
        first, second = await store.put("a", b"1"), await store.put("b", b"1")
        await rig.until(lambda: len(changes) == 2)
        gone = await store.delete("a")
        await rig.until(lambda: len(changes) == 3)
        assert await store.delete("a") == 0, "nothing was there"
        last = await store.put("a", b"2")
        await rig.until(lambda: len(changes) == 4)
        assert [change.revision for change in changes] == [first, second, gone, last]
        assert first < second < gone < last


async def test_a_watch_that_begins_while_others_create_and_delete_ends_up_with_what_is_there(rig: Rig) -> None:
    """Also where only a deletion is left of a key that came and went."""
    other, mine = rig.other.store("SERVING"), rig.bus.store("SERVING")
    await asyncio.gather(*(other.put(f"k.{n}", b"1") for n in range(900)))

    async def come_and_go(n: int) -> None:
        await other.delete(f"k.{n}")
        if n % 3:
            await other.put(f"k.{n}", b"2")
        if n % 3 == 1:
            await other.delete(f"k.{n}")

    writing = asyncio.gather(*(come_and_go(n) for n in range(900)))
    watches = [await mine.watch("k") for _ in range(8)]
    await writing
    truth = {key: entry.value for key, entry in (await mine.entries("k")).items()}
    assert set(truth.values()) == {b"2"}
    assert len(truth) == 300
    last = await other.put("k.end", b"")
    for watch in watches:
        known = {key: entry.value for key, entry in watch.snapshot.items()}
        async for change in watch:
            if change.revision == last:
                break
            known.pop(change.key, None)
            if change.entry is not None:
                known[change.key] = change.entry.value
        await watch.close()
        assert known == truth


async def test_a_watch_of_an_empty_bucket_begins_at_once(rig: Rig, store: Store) -> None:
    async with watching(store) as (watch, changes):
        assert watch.snapshot == {}
        await store.put("k", b"1")
        await rig.until(lambda: changes)
        assert told(changes) == [("k", b"1")]


async def test_a_watch_tells_the_differences_after_a_reconnect(rig: Rig, store: Store) -> None:
    for key in ("same", "changed", "deleted"):
        await store.put(key, b"1")
    other = rig.other.store("SERVING")
    async with watching(store) as (_, changes):
        await rig.cut()
        with pytest.raises(Unavailable):
            await store.get("same")
        await other.put("changed", b"2")
        await other.delete("deleted")
        await other.put("new", b"1")
        await rig.mend()
        await rig.until(lambda: len(changes) >= 3, within_s=10.0)
        assert sorted(told(changes)) == [("changed", b"2"), ("deleted", None), ("new", b"1")]
        await rig.until(rig.bus.link.is_up)
        await other.put("same", b"2")
        await rig.until(lambda: len(changes) == 4)
        assert told(changes)[3] == ("same", b"2")


async def test_a_watch_goes_on_after_the_server_restarted(rig: Rig, store: Store) -> None:
    await store.put("a", b"1")
    async with watching(store) as (_, changes):
        await rig.restart()
        for attempt in range(100):
            try:
                await store.put("b", b"1")
                break
            except Unavailable:
                await rig.hold(0.05)
                assert attempt < 99
        await rig.until(lambda: changes, within_s=10.0)
        assert told(changes) == [("b", b"1")], "and the values on file are no news"


async def test_a_bucket_that_is_not_in_the_topology_does_not_open(rig: Rig) -> None:
    with pytest.raises(Malformed, match="NOPE"):
        rig.bus.store("NOPE")


async def is_gone(store: Store, key: str) -> bool:
    return await store.get(key) is None
