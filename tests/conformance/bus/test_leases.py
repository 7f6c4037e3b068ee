"""What Leases promises, kept by both adapters."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus.errors import LeaseLost, Unavailable
from support.bus_rig import Rig


async def test_one_owner_at_a_time(rig: Rig) -> None:
    lease = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=2.0)
    assert lease is not None
    assert (lease.name, lease.owner) == ("dispatcher.a", "me")
    assert await rig.other.leases.acquire("dispatcher.a", "you", ttl_s=2.0) is None


async def test_a_renewed_lease_keeps_its_epoch_and_stays(rig: Rig) -> None:
    lease = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=1.0)
    assert lease is not None
    epoch = lease.epoch
    for _ in range(3):
        await rig.hold(0.6)
        lease = await rig.bus.leases.renew(lease)
        assert lease.epoch == epoch
    assert await rig.other.leases.acquire("dispatcher.a", "you", ttl_s=1.0) is None


async def test_a_lease_that_is_not_renewed_is_free_again_and_lost(rig: Rig) -> None:
    old = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=1.0)
    assert old is not None
    await rig.until(lambda: nobody_holds(rig))
    new = await rig.other.leases.acquire("dispatcher.a", "you", ttl_s=60.0)
    assert new is not None
    assert new.epoch > old.epoch
    with pytest.raises(LeaseLost, match="lease"):
        await rig.bus.leases.renew(old)
    await rig.bus.leases.release(old)
    assert await rig.bus.leases.holders("dispatcher.") == {"dispatcher.a": "you"}


async def test_a_lease_that_ran_out_is_lost_even_when_nobody_took_it(rig: Rig) -> None:
    lease = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=1.0)
    assert lease is not None
    await rig.until(lambda: nobody_holds(rig))
    with pytest.raises(LeaseLost):
        await rig.bus.leases.renew(lease)


async def test_a_released_lease_is_free_at_once(rig: Rig) -> None:
    lease = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=60.0)
    assert lease is not None
    await rig.bus.leases.release(lease)
    assert await rig.other.leases.acquire("dispatcher.a", "you", ttl_s=60.0) is not None


async def test_the_epochs_of_leases_grow_over_all_names(rig: Rig) -> None:
    epochs = []
    for n in range(3):
        lease = await rig.bus.leases.acquire(f"dispatcher.{n}", "me", ttl_s=60.0)
        assert lease is not None
        epochs.append(lease.epoch)
        await rig.other.leases.claim("pool.ns.ms.0", f"owner{n}")
        epochs.append((await rig.bus.leases.renew(lease)).revision)
    assert epochs == sorted(set(epochs))


async def test_the_epochs_of_claims_grow_one_by_one_from_the_unix_seconds_on(rig: Rig) -> None:
    before_s = int(rig.bus.clock.now())
    claims = [await bus.leases.claim("pool.ns.ms.0", "me") for bus in (rig.bus, rig.other) * 3]
    assert claims == sorted(set(claims))
    assert before_s <= claims[0]
    assert claims[-1] <= int(rig.bus.clock.now()) + len(claims)


async def test_claims_at_the_same_time_get_different_epochs_and_the_last_one_stays(rig: Rig) -> None:
    async def claim(n: int) -> tuple[int, str]:
        leases = rig.bus.leases if n % 2 else rig.other.leases
        return await leases.claim("pool.ns.ms.0", f"owner{n}"), f"owner{n}"

    claims = await asyncio.gather(*(claim(n) for n in range(6)))
    assert len({epoch for epoch, _ in claims}) == len(claims)
    assert await rig.bus.leases.holders("pool.") == {"pool.ns.ms.0": max(claims)[1]}


async def test_a_claim_in_a_bucket_that_was_lost_is_above_those_before(rig: Rig) -> None:
    before = 0
    for _ in range(3):
        before = await rig.bus.leases.claim("pool.ns.ms.0", "me")
        await rig.hold(1.1)
    await rig.lose_bucket("LEASES")
    assert await rig.bus.leases.holders("pool.") == {}
    assert await rig.other.leases.claim("pool.ns.ms.0", "you") > before


async def test_a_claim_is_above_one_that_is_ahead_of_the_clock(rig: Rig) -> None:
    for _ in range(5):
        ahead = await rig.bus.leases.claim("pool.ns.ms.0", "me")
    assert await rig.other.leases.claim("pool.ns.ms.0", "you") == ahead + 1


async def test_a_claim_that_cannot_be_read_is_replaced(rig: Rig) -> None:
    await rig.bus.store("LEASES").put("pool.ns.ms.0", b"rubbish")
    assert await rig.bus.leases.claim("pool.ns.ms.0", "me") >= int(rig.bus.clock.now()) - 5
    assert await rig.bus.leases.holders("pool.") == {"pool.ns.ms.0": "me"}


async def test_a_claim_takes_over_and_stays(rig: Rig) -> None:
    first = await rig.bus.leases.claim("pool.ns.ms.0", "me")
    second = await rig.other.leases.claim("pool.ns.ms.0", "you")
    assert second > first
    await rig.hold(1.0)
    assert await rig.bus.leases.holders("pool.") == {"pool.ns.ms.0": "you"}


async def test_holders_are_found_by_the_beginning_of_their_names(rig: Rig) -> None:
    await rig.bus.leases.claim("dispatcher.a", "1")
    await rig.bus.leases.claim("dispatcher.b", "2")
    await rig.bus.leases.claim("dispatch", "3")
    await rig.bus.leases.claim("node.a", "4")
    assert await rig.bus.leases.holders("dispatcher.") == {"dispatcher.a": "1", "dispatcher.b": "2"}
    assert len(await rig.bus.leases.holders("dispatch")) == 3
    assert len(await rig.bus.leases.holders("")) == 4


async def test_a_follower_hears_the_holders_now_and_after_every_change_but_no_renewals(rig: Rig) -> None:
    told: list[dict[str, str]] = []

    async def hear(holders: dict[str, str]) -> None:
        told.append(holders)

    first = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=60.0)
    assert first is not None
    end = await rig.other.leases.follow("dispatcher.", hear)
    assert told == [{"dispatcher.a": "me"}]
    first = await rig.bus.leases.renew(first)
    second = await rig.bus.leases.acquire("dispatcher.b", "you", ttl_s=1.0)
    assert second is not None
    await rig.bus.leases.claim("pool.a", "me")
    await rig.until(lambda: len(told) == 2)
    assert told[1] == {"dispatcher.a": "me", "dispatcher.b": "you"}
    await rig.until(lambda: len(told) == 3, within_s=3.0)
    assert told[2] == {"dispatcher.a": "me"}, "the one that ran out is gone"
    await end()
    await rig.bus.leases.release(first)
    await rig.hold(0.1)
    assert len(told) == 3


async def test_a_lease_is_given_back_though_the_answer_to_its_last_renewal_was_not_waited_for(rig: Rig) -> None:
    lease = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=60.0)
    assert lease is not None
    await rig.bus.leases.renew(lease)
    await rig.bus.leases.release(lease)
    assert await nobody_holds(rig)


async def test_giving_a_lost_lease_back_takes_it_from_nobody(rig: Rig) -> None:
    lost = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=60.0)
    assert lost is not None
    await rig.bus.leases.release(lost)
    assert await rig.other.leases.acquire("dispatcher.a", "you", ttl_s=60.0) is not None
    await rig.bus.leases.release(lost)
    assert await rig.other.leases.holders("dispatcher.") == {"dispatcher.a": "you"}


async def test_without_a_connection_nothing_is_known_of_a_lease(rig: Rig) -> None:
    lease = await rig.bus.leases.acquire("dispatcher.a", "me", ttl_s=60.0)
    assert lease is not None
    await rig.cut()
    with pytest.raises(Unavailable):
        await rig.bus.leases.renew(lease)
    with pytest.raises(Unavailable):
        await rig.bus.leases.acquire("dispatcher.b", "me", ttl_s=60.0)


async def nobody_holds(rig: Rig) -> bool:
    return not await rig.other.leases.holders("dispatcher.")
