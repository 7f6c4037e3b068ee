"""Leases beside entries that nobody can read."""

from __future__ import annotations

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.memory import MemoryBroker


async def test_an_unreadable_entry_is_told_once_and_again_when_it_changes(caplog):
    clock = ManualClock()
    bus = MemoryBroker(clock).connect()
    store = bus.store("LEASES")
    seen: list[dict[str, str]] = []

    async def note(holders: dict[str, str]) -> None:
        seen.append(holders)

    await store.put("dispatcher.broken", b"\xc1")
    end = await bus.leases.follow("dispatcher.", note)
    lease = await bus.leases.acquire("dispatcher.a", "me", ttl_s=2.0)
    assert lease is not None
    for _ in range(5):
        await clock.advance(0.5)
        lease = await bus.leases.renew(lease)
        assert await bus.leases.holders("dispatcher.") == {"dispatcher.a": "me"}
    assert seen == [{}, {"dispatcher.a": "me"}]
    (only,) = caplog.messages
    assert only.startswith("lease dispatcher.broken cannot be read")
    await store.put("dispatcher.broken", b"\xc2")
    await clock.advance(0.5)
    await bus.leases.holders("dispatcher.")
    assert len(caplog.messages) == 2
    await end()
    await bus.link.close()
