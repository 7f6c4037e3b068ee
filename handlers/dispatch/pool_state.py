"""The whole of what one pool's shard decides: pure, fed by the shell with messages and the time, in any order.

`arrivals`, `agent_news` and `placing` hold the three large rules; here are the small ones, and their meeting.
"""

from __future__ import annotations

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.bus.contracts.dispatch import WhereAnswer
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.load import LoadEvent, WorkKey
from matrixinfer.handlers.dispatch.agent_news import AgentNews
from matrixinfer.handlers.dispatch.arrivals import Arrival, Arrivals
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.failures import deadline_exceeded, deleted, too_large
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fleet import Fleet
from matrixinfer.handlers.dispatch.ledger import Ledger
from matrixinfer.handlers.dispatch.pairs.reunion import Reunion
from matrixinfer.handlers.dispatch.placing import Placement, Placing
from matrixinfer.handlers.dispatch.recently import Recently
from matrixinfer.handlers.dispatch.request import Held, Request, RequestKey
from matrixinfer.handlers.dispatch.scheduling.port import Scheduler
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from matrixinfer.handlers.dispatch.sightings import Sightings

GONE_GRACE_S = 2.0
"""A pool that left SERVING may come again: an edit deletes and makes anew."""


class PoolState:
    """`now` is monotonic seconds everywhere. Methods that end requests return Effects for the shell to carry out."""

    def __init__(self, settings: DispatchSettings, queue: FairQueue, scheduler: Scheduler, rng: Rng) -> None:
        self._settings = settings
        self.fleet = Fleet(settings.silent_after_s, settings.verify_after_s, on_departure=queue.leave)
        self._ledger = Ledger(queue, self.fleet, settings.remembered)
        self._sightings = Sightings()
        self._reunion = Reunion(self._ledger, settings.silent_after_s)
        self._arrivals = Arrivals(self._ledger, self._sightings, self._reunion)
        self._news = AgentNews(self._ledger, self._sightings, self._reunion, settings)
        self._placing = Placing(self._ledger, scheduler, settings, rng)
        self.queue = queue
        self._gone_since: float | None = None

    @property
    def epoch(self) -> int:
        return self._ledger.epoch

    @property
    def deaths(self) -> Recently[RequestKey, int]:
        """Agents that died with a request that is in hand, or with one of a predecessor's that has not come yet."""
        return self._ledger.deaths

    @property
    def placed(self) -> int:
        """Requests at a pod that have not started."""
        return len(self._ledger.requests) - len(self.queue)

    def is_empty(self) -> bool:
        return not self._ledger.requests

    # -- a reign
    def begin_reign(self, epoch: int, now: float) -> None:
        """The shard was claimed: what comes from now on comes (again) under `epoch`."""
        self._ledger.epoch = epoch
        self._arrivals.reign_since = now
        self._reunion.begin_reign(now)
        self.fleet.begin_reign()
        self._sightings.open()

    def end_catching_up(self) -> None:
        """Everything stored before this reign has come."""
        self._sightings.close()
        self.queue.end_catching_up()

    # -- requests
    def split_by(self, plan: Disaggregation | None) -> None:
        """How requests go to prefill and decode pods from now on; None: each to one pod."""
        self._placing.split.plan = plan

    def bound_tpot(self, max_tpot_s: float) -> None:
        """Give a pod no more than keeps its output tokens so close together, in seconds; 0: no bound."""
        self.fleet.bound_tpot(max_tpot_s)

    def receive(self, envelope: Envelope, held: Held, age_s: float, now: float, effects: Effects) -> Arrival:
        """`effects` gets what has to be told when it is refused."""
        return self._arrivals.receive(envelope, held, age_s, now, effects)

    def place(self, now: float, limit: int) -> list[Placement]:
        return self._placing.place(now, limit)

    def post_failed(self, request: Request, work: WorkKey, now: float) -> Effects:
        """The work was not stored, as far as known: the request is queued again, and its pod rests for a moment. A
        decode half whose prefill half was not stored goes on as it can."""
        effects = Effects()
        half = request.prefill
        if half is not None and half.work == work:
            self.fleet.pause(half.pod, now + self._settings.refused_pause_s)
            self._ledger.lose_prefill(request, "it could not be sent to its agent", effects)
        elif request.work == work:
            self.fleet.pause(request.pod, now + self._settings.refused_pause_s)
            if self._ledger.requests.get(request.key) is request:
                self._ledger.take_back(request, effects)
            else:
                self._ledger.write_off(request.pod, work)
        return effects

    def post_impossible(self, request: Request, work: WorkKey) -> Effects:
        """The work, or its half, is too large for any message."""
        effects = Effects()
        is_placed = work in [placed for _, placed in request.places()]
        if is_placed and self._ledger.requests.get(request.key) is request:
            effects.aborted += [(pod, other) for pod, other in request.places() if other != work]
            for pod, placed in request.places():
                self._ledger.write_off(pod, placed)
            self._ledger.fail(request, too_large(), effects)
        return effects

    def cancel(self, key: RequestKey, remaining_s: float, now: float) -> Effects:
        effects = Effects()
        request = self._ledger.requests.get(key)
        if request is not None:
            effects.aborted += request.places()
            self._ledger.settle(request, effects)
        elif self._ledger.settled.get(key, now) is None:
            self._ledger.expect_no_more(key, now + remaining_s)
        return effects

    def where(self, key: RequestKey, now: float) -> WhereAnswer | None:
        """None when it was never seen here. A cancelled one counts as settled."""
        request = self._ledger.requests.get(key)
        if request is not None:
            if request.work is None:
                return WhereAnswer("queued", position=self.queue.position(request))
            return WhereAnswer("placed", 0, request.pod, request.boot, request.hop, request.phase)
        place = self._ledger.settled.get(key, now)
        if place is not None:
            return WhereAnswer("settled", 0, *place)
        return WhereAnswer("settled") if self._ledger.tombstones.get(key, now) else None

    def gateways(self) -> set[str]:
        """Those with a request in the queue."""
        return {request.gateway for request in self.queue}

    def drop_gateway(self, gateway: str) -> Effects:
        """The gateway is gone, and with it the clients of its queued requests."""
        effects = Effects()
        for request in [request for request in self.queue if request.gateway == gateway]:
            self._ledger.settle(request, effects)
        return effects

    # -- agents
    def heard(self, event: LoadEvent, now: float) -> Effects:
        return self._news.heard(event, now)

    def dumped(self, pod: str, dumped: Dumped, asked_at: float, now: float) -> Effects:
        return self._news.dumped(pod, dumped, asked_at, now)

    def lost(self, pod: str, *, died: bool) -> Effects:
        return self._news.lost(pod, died=died)

    # -- time
    def expire(self, now: float) -> Effects:
        """End what waited past its deadline. Cheap when nothing is due."""
        effects = Effects()
        for request in self.queue.take_overdue(now):
            self._ledger.fail(request, deadline_exceeded(now - request.since), effects)
        return effects

    def give_up_halves(self, now: float) -> Effects:
        """Tell the halves of a predecessor's pairs of which no agent has the other one."""
        effects = Effects()
        self._reunion.give_up(now, effects)
        return effects

    def check_pool(self, is_there: bool, now: float) -> Effects:
        """End what waits for a pool that left SERVING: nobody will ever take it. What a pod has goes on."""
        effects = Effects()
        self._gone_since = None if is_there else self._gone_since or now
        if self._gone_since is not None and now - self._gone_since >= GONE_GRACE_S:
            for request in list(self.queue):
                self._ledger.fail(request, deleted(), effects)
        return effects

    def sweep(self, now: float) -> None:
        """To be called a few times a second."""
        fleet = self.fleet
        self._ledger.drain_rate.tick(now, is_short=self._ledger.is_short, pods=fleet.serving(), in_flight=fleet.used())
        self._ledger.settled.sweep(now)
        self._ledger.tombstones.sweep(now)
        self._ledger.deaths.sweep(now)
