"""Who of the agents is heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from matrixinfer.agents.node.pods import PodId
from matrixinfer.agents.node.readiness import Readiness
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.load import LoadEvent

POD = PodId("default", "p")


@dataclass
class Heard:
    subject: str
    data: bytes
    headers: Mapping[bytes, bytes] = field(default_factory=dict)

    async def respond(self, data: bytes) -> None:
        raise AssertionError("nobody asked")


async def test_events_that_cannot_be_read_are_told_in_one_line_and_make_nobody_ready(caplog):
    readiness = Readiness(ManualClock(), 1.0, lambda: None)
    for _ in range(3):
        await readiness.hear(Heard("mi.load.default.p", b"\xc1"))
    (record,) = caplog.records
    assert record.exc_info is None
    assert "load events on mi.load.default.p cannot be read" in record.getMessage()
    assert not readiness.is_heard(POD)


async def test_an_event_that_can_be_read_counts_whatever_came_before():
    readiness = Readiness(ManualClock(), 1.0, lambda: None)
    await readiness.hear(Heard("mi.load.default.p", b"\xc1"))
    await readiness.hear(Heard("mi.load.default.p", encode(LoadEvent("default", "p", "boot", 1))))
    assert readiness.is_heard(POD)
