"""Whatever happens to a decode half, and in whatever order: it ends once, and nobody is left waiting for the other."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts.control import Abort
from matrixinfer.bus.contracts.disaggregation import Connector
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from support.agent import AgentHouse, agent_house
from support.halves import counterpart, decode_key, hand, other_agent, prefill_key

EVENTS = ["place", "handed", "lost", "emit", "finish", "500", "400", "abort", "soon", "late"]
CONNECTORS: list[Connector] = ["sglang", "nixl", "http"]


async def happen(house: AgentHouse, event: str, connector: Connector) -> None:
    engine = house.engine
    match event:
        case "place":
            await house.place("a", phase="decode", counterpart=counterpart(connector))
        case "handed":
            await hand(house, params=b'{"x":1}')
        case "lost":
            await hand(house, lost="gone")
        case "emit" if "a" in engine.active:
            engine.emit("a")
        case "finish":
            engine.finish("a")
        case "500" | "400":
            engine.fail("a", Failure(int(event), "broke"))
        case "abort":
            await house.ask(Abort([decode_key()]))
        case "soon":
            await house.clock.advance(2.0)
        case "late":
            await house.clock.advance(21.0)
    await house.settle()


async def live(connector: Connector, events: list[str], *, stubborn: bool) -> None:
    async with agent_house(slots=1) as house:
        gateway, other = await house.gateway(), await other_agent(house)
        house.engine.stubborn = stubborn
        for event in events:
            await happen(house, event, connector)
        house.engine.stubborn = False
        await house.clock.advance(70.0)  # past the deadline
        for rid in house.engine.active:
            house.engine.fail(rid, Failure(499, "aborted"))
        await house.clock.advance(1.0)
        ends = [f for f in house.finished if f.key == decode_key()]
        was_placed = "place" in events
        final = [f for f in ends if f.outcome != "refused"]
        assert len(final) <= 1
        assert bool(ends) == was_placed, "what was pulled ends"
        chunks = gateway.chunks("a")
        assert [c.number for c in chunks] == list(range(len(chunks)))
        assert sum(c.kind is not ChunkKind.DATA for c in chunks) <= 1, "and is answered once at most"
        assert all(c.kind is ChunkKind.DATA for c in chunks[:-1])
        assert (await house.backlog()).unacknowledged == 0
        assert house.events[-1].snapshot.waiting == house.events[-1].snapshot.running == []
        for finished in ends:
            assert finished.handover != "lost" or finished.outcome != "completed" or connector != "sglang"
            assert finished.outcome != "refused" or (connector == "sglang" and not finished.started)
        if ends and not {"handed", "lost"} & set(events) and not any(f.started for f in ends):
            assert prefill_key() in other.parted, "the prefill half is not left alone"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CONNECTORS), st.lists(st.sampled_from(EVENTS), max_size=10), st.booleans())
def test_it_ends_once_and_leaves_nobody_waiting(connector: Connector, events: list[str], stubborn: bool) -> None:
    asyncio.run(live(connector, events, stubborn=stubborn))
