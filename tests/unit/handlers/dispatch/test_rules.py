"""The smaller rules: who owns what, what is remembered, how many credits go out, how long the queue lasts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.assignment import PoolShard, owned_by, owner
from matrixinfer.handlers.dispatch.credits import Credits
from matrixinfer.handlers.dispatch.recently import Recently
from matrixinfer.handlers.dispatch.report import DrainRate, predicted_wait_s
from matrixinfer.handlers.dispatch.sightings import Seen, Sightings

SHARDS = [PoolShard("ns", f"ms{i}", shard) for i in range(40) for shard in range(2)]
holders = st.sets(st.text("abcdef0123456789", min_size=3, max_size=8), min_size=2, max_size=6)


@given(holders, st.data())
def test_only_the_shards_of_a_lost_holder_move(live, data):
    lost = data.draw(st.sampled_from(sorted(live)))
    before = {shard: owner(shard, live) for shard in SHARDS}
    after = {shard: owner(shard, live - {lost}) for shard in SHARDS}
    assert {shard for shard in SHARDS if before[shard] != after[shard]} == owned_by(lost, SHARDS, live)


@given(holders)
def test_every_shard_has_one_owner_whatever_the_order_of_the_holders(live):
    owned = [owned_by(holder, SHARDS, list(live)) for holder in live]
    assert sum(len(shards) for shards in owned) == len(SHARDS)
    assert set().union(*owned) == set(SHARDS)
    assert [owner(shard, sorted(live)) for shard in SHARDS] == [owner(shard, sorted(live)[::-1]) for shard in SHARDS]


def test_shards_spread_over_the_holders():
    counts = [len(owned_by(holder, SHARDS, ["a", "b", "c"])) for holder in "abc"]
    assert min(counts) > len(SHARDS) / 6


def test_without_holders_nobody_owns_anything():
    assert owner(SHARDS[0], []) is None


def test_what_is_remembered_is_forgotten_at_its_time_and_beyond_the_limit():
    recently: Recently[str, int] = Recently(limit=2)
    recently.remember("a", 1, until=10.0)
    recently.remember("b", 2, until=20.0)
    assert (recently.get("a", 9.9), recently.get("a", 10.0)) == (1, None)
    recently.sweep(10.0)
    assert len(recently) == 1
    recently.remember("c", 3, until=30.0)
    recently.remember("d", 4, until=40.0)
    assert [recently.get(key, 0.0) for key in "abcd"] == [None, None, 3, 4]


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.integers(1, 500),
    st.lists(st.tuples(st.booleans(), st.integers(1, 100)), max_size=200),
)
def test_credits_never_exceed_what_may_be_in_hand_and_never_dry_up(max_in_hand, window, max_bytes, steps):
    credits = Credits(max_in_hand, max_bytes, window)
    granted, in_hand = credits.due(), []
    for deliver, size in steps:
        if deliver and granted:
            granted -= 1
            in_hand.append(size)
            credits.take(size)
        elif in_hand:
            credits.give_back(in_hand.pop())
        granted += credits.due()
        assert granted == credits.outstanding
        assert len(in_hand) + granted <= max_in_hand
        assert sum(in_hand) <= max_bytes + window * 100
        if len(in_hand) < max_in_hand and sum(in_hand) < max_bytes:
            assert granted > 0
    assert credits.is_starved() == (granted == 0)


def test_the_drain_rate_settles_on_what_happens():
    rate = DrainRate()
    for second in range(60):
        rate.measure(float(second))
        rate.count(5)
    assert rate.per_s == pytest.approx(5.0, rel=0.01)


@pytest.mark.parametrize(
    ("queued", "oldest_age_s", "rate_per_s", "expected"),
    [(0, 0.0, 0.0, 0.0), (10, 3.0, 5.0, 2.0), (10, 3.0, 0.0, 3.0)],
)
def test_the_predicted_wait(queued, oldest_age_s, rate_per_s, expected):
    assert predicted_wait_s(queued, oldest_age_s, rate_per_s) == expected


def test_of_several_sightings_the_weightiest_is_taken_and_the_newest_waiting_hop():
    sightings = Sightings()
    sightings.note("p0", "b", [WorkKey("early", 1, 1)], Seen.SETTLED)
    sightings.open()
    sightings.note("p1", "b", [WorkKey("r", 1, 1), WorkKey("s", 1, 1)], Seen.WAITING)
    sightings.note("p2", "b", [WorkKey("r", 1, 2)], Seen.WAITING)
    sightings.note("p3", "b", [WorkKey("r", 1, 3)], Seen.REFUSED)
    sightings.note("p2", "b", [WorkKey("s", 1, 1)], Seen.SETTLED)
    taken = sightings.take(("r", 1))
    assert taken is not None
    assert (taken.seen, taken.pod, taken.hop) == (Seen.WAITING, "p2", 2)
    settled = sightings.take(("s", 1))
    assert settled is not None
    assert settled.seen is Seen.SETTLED
    assert sightings.take(("r", 1)) is None
    assert sightings.take(("early", 1)) is None


def test_work_that_was_waiting_and_is_refused_then_is_no_longer_waiting():
    sightings = Sightings()
    sightings.open()
    sightings.note("p1", "b", [WorkKey("r", 1, 1)], Seen.WAITING)
    sightings.note("p1", "b", [WorkKey("r", 1, 1)], Seen.REFUSED)
    taken = sightings.take(("r", 1))
    assert taken is not None
    assert taken.seen is Seen.REFUSED
