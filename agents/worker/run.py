"""Work in hand, with what is needed to answer it."""

from __future__ import annotations

from matrixinfer.agents.worker.ledger import Work
from matrixinfer.agents.worker.outbox import Lane
from matrixinfer.agents.worker.replay import History
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.ports import Delivery


class Run(Work):
    """`engine_id` is its name in the engine, `next_number` that of its next chunk."""

    __slots__ = ("delivery", "engine_id", "history", "is_acked", "lane", "next_number")

    def __init__(
        self, key: WorkKey, pulled_at: float, deadline_at: float, *, delivery: Delivery, lane: Lane, history: History
    ) -> None:
        super().__init__(key, lane.gateway, pulled_at, deadline_at)
        self.delivery = delivery
        self.lane = lane
        self.history = history
        self.engine_id = key.rid
        self.next_number = 0
        self.is_acked = False
