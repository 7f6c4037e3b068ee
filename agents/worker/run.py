"""Work in hand, with what is needed to answer it."""

from __future__ import annotations

from matrixinfer.agents.worker.halves import Half
from matrixinfer.agents.worker.ledger import Work
from matrixinfer.agents.worker.outbox import Lane
from matrixinfer.agents.worker.replay import History
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.ports import Delivery


class Run(Work):
    """`engine_id` is its name in the engine, `next_number` that of its next chunk.

    `history` None: nothing of it is for the gateway. `half` None: it is a whole request.
    """

    __slots__ = ("delivery", "engine_id", "half", "history", "is_acked", "lane", "next_number")

    def __init__(
        self,
        key: WorkKey,
        pulled_at: float,
        deadline_at: float,
        *,
        delivery: Delivery,
        lane: Lane,
        history: History | None,
        half: Half | None = None,
    ) -> None:
        super().__init__(key, lane.gateway, pulled_at, deadline_at)
        self.delivery = delivery
        self.lane = lane
        self.history = history
        self.half = half
        self.engine_id = key.rid
        self.next_number = 0
        self.is_acked = False
