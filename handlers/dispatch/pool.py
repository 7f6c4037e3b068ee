"""One pool's shard in this process: messages in, decisions by `PoolState`, messages out.

The way of a request is short on purpose: its delivery is decoded, queued, placed and posted in one go, without a task
of its own; `started` and `finished` come batched in load events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from matrixinfer.bus.background import Background, within
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.cache import CacheEvent
from matrixinfer.bus.contracts.dispatch import CancelNotice, WhereAnswer
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.load import LoadEvent, WorkKey
from matrixinfer.bus.contracts.serving import Pool
from matrixinfer.bus.errors import BusError, Malformed, Unavailable
from matrixinfer.bus.ports import Delivery, Signal
from matrixinfer.handlers.dispatch.arrivals import Arrival
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.catalog import ShardPods
from matrixinfer.handlers.dispatch.death_toll import DeathToll
from matrixinfer.handlers.dispatch.decisions import DecisionLog
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.errors import BadProfile
from matrixinfer.handlers.dispatch.fairness_record import FairnessRecord
from matrixinfer.handlers.dispatch.inquiry import Inquiry
from matrixinfer.handlers.dispatch.intake import Intake
from matrixinfer.handlers.dispatch.outbox import Outbox
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.reporter import Reporter
from matrixinfer.handlers.dispatch.request import RequestKey
from matrixinfer.handlers.dispatch.scheduling.live import LiveScheduler
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from matrixinfer.handlers.dispatch.suspicion_record import SuspicionRecord
from matrixinfer.handlers.dispatch.tenure import Tenure
from matrixinfer.handlers.dispatch.work_sender import WorkSender

logger = logging.getLogger("matrixinfer.dispatch.pool")

_ROUND = 256
_AGAIN_AFTER_S = 0.5
_RECALL_WITHIN_S = 2.0
_RECALL_AGAIN_AFTER_S = 0.25


class PoolDispatcher:
    """Serves the shard while `run` runs. `on_ready` is called when it knows all that was stored before it."""

    def __init__(
        self,
        shard: PoolShard,
        bus: Bus,
        settings: DispatchSettings,
        tenure: Tenure,
        state: PoolState,
        *,
        scheduler: LiveScheduler,
        caches: ToldCaches,
        outbox: Outbox,
        on_ready: Callable[[], None],
    ) -> None:
        self.shard = shard
        self.state = state
        self.caches = caches
        self.is_claimed = False
        self._bus = bus
        self._tenure = tenure
        self._scheduler = scheduler
        self._outbox = outbox
        self._on_ready = on_ready
        self._monotonic = bus.clock.monotonic
        self._inquiry = Inquiry(bus, shard, state, settings.dump_timeout_s, self._act)
        self._intake = Intake(bus, shard, settings, self._on_delivery)
        self._sender = WorkSender(bus, shard.namespace, self._not_stored)
        self._decisions = DecisionLog(bus, shard, settings)
        self._reporter = Reporter(bus, shard, state, caches, scheduler.timings)
        self._background = Background()
        self._death_toll = DeathToll(bus, shard, self._background)
        self._fairness = FairnessRecord(bus, shard, state.queue, self._background)
        self._suspicions = SuspicionRecord(bus, shard, caches, self._background)
        self._is_placing = False
        self._is_retired = False
        self._term = 0
        self._knows_all = False
        self._pods = ShardPods({}, {})
        self._weights: dict[str, float] = {}
        self._claim_again = asyncio.Event()

    # -- its life
    async def run(self) -> None:
        """Claim, take over and serve; again after every restored link. Ends by cancellation."""
        subject = self._bus.subjects.cancel(self.shard.namespace, self.shard.modelserver)
        subscription = None
        try:
            while True:
                try:
                    if subscription is None:
                        subscription = await self._bus.signals.subscribe(subject, self._on_cancel)
                    if await self._take_over():
                        await self._claim_again.wait()
                        continue
                except BusError as error:
                    logger.warning("taking over %s failed, trying again: %s", self.shard.claim_name, error)
                await self._bus.clock.sleep(_AGAIN_AFTER_S)
        finally:
            if subscription is not None:
                await subscription.close()

    def claim_again(self) -> None:
        """The link was restored, or a delivery was dropped for want of the lease: find out by a new epoch what
        happened meanwhile."""
        self._is_placing = self._knows_all = False
        self._claim_again.set()

    def heed_term(self) -> None:
        """The lease was lost and won again before anybody let this shard go: begin a new reign."""
        if self.is_claimed and self._term != self._tenure.term:
            self.claim_again()

    def retire(self) -> None:
        """Do nothing from now on. What is in hand stays unacknowledged, and is the next owner's."""
        self._is_retired = True
        self.is_claimed = False

    async def close(self) -> None:
        """After `retire` and the end of `run`: leave the bus."""
        await self._inquiry.close()
        await self._background.close()
        await self._decisions.flush(self.state.epoch)
        await self._intake.stop()

    async def _take_over(self) -> bool:
        """False without the lease: this is not ours to claim. We are let go soon, unless the lease comes back."""
        self._claim_again.clear()
        self._is_placing = self.is_claimed = self._knows_all = False
        self._term = self._tenure.term
        if not self._may_act(self._monotonic()):
            return False
        epoch = await self._bus.leases.claim(self.shard.claim_name, self._tenure.owner)
        self.is_claimed = True
        await self._recall()
        self._list_pods()
        self.state.begin_reign(epoch, self._monotonic())
        await self._reporter.announce(self._monotonic())
        await self._inquiry.ask_all()
        self._is_placing = True
        await self._intake.open(epoch)
        logger.info("%s is served by %s, epoch %d", self.shard.claim_name, self._tenure.owner, epoch)
        await self._pump(self._monotonic())
        await self._intake.wait_until_caught_up(self._claim_again.is_set)
        if not self._claim_again.is_set():
            self.state.end_catching_up()
            self._knows_all = True
            self._on_ready()
        return True

    async def _recall(self) -> None:
        """Learn what the predecessors noted. REIGNS may be without a leader for long while all else is well: then this
        reign begins without. Raises Unavailable without a connection."""
        name = f"recalling what was noted of {self.shard.claim_name}"
        if await within(self._bus.clock, _RECALL_WITHIN_S, self._recall_at_last(), name):
            return
        if not self._bus.link.is_up():
            raise Unavailable("the connection was lost")
        logger.warning(
            "%s begins without what its predecessors noted: REIGNS gave no answer in %g s",
            self.shard.claim_name,
            _RECALL_WITHIN_S,
        )

    async def _recall_at_last(self) -> None:
        while True:
            try:
                await self._death_toll.recall(self.state.deaths, self._monotonic())
                if not self.state.epoch:  # later reigns of this process know better than any record
                    await self._fairness.recall()
                    await self._suspicions.recall(self._monotonic())
                return
            except BusError as error:
                logger.debug("what was noted of %s cannot be read yet: %s", self.shard.claim_name, error)
            await self._bus.clock.sleep(_RECALL_AGAIN_AFTER_S)

    def _may_act(self, now: float) -> bool:
        return not self._is_retired and self._term == self._tenure.term and self._tenure.holds(now)

    def _may_place(self, now: float) -> bool:
        return self._is_placing and self._may_act(now) and self._bus.link.is_up()

    # -- what comes in
    async def _on_delivery(self, delivery: Delivery) -> None:
        now = self._monotonic()
        if not self._is_placing:
            return  # a reign ends or begins: it comes again
        if not self._may_act(now):
            if not self._is_retired:
                self.claim_again()  # should the lease be renewed before anybody notices, it must come again
            return
        self._intake.took(delivery)
        try:
            envelope = decode(delivery.data, Envelope)
        except Malformed as error:
            await self._outbox.bury(delivery, str(error))
            await self._dismiss(delivery)
            return
        effects = Effects()
        arrival = self.state.receive(envelope, delivery, delivery.age_s, now, effects)
        if arrival is Arrival.REFUSED:
            await self._carry_out(effects)
            return
        if arrival is Arrival.SETTLED:
            await self._dismiss(delivery)
            return
        if arrival is Arrival.REPEATED:
            self._intake.gave_back(len(delivery.data))
        await self._pump(now, envelope)
        self._intake.grant()

    async def heard(self, event: LoadEvent) -> None:
        """A load event of one of this pool's pods."""
        now = self._monotonic()
        self.caches.ended(event.pod, event.boot, event.finished)
        if self._may_act(now):
            await self._act(self.state.heard(event, now))

    async def heard_cache(self, event: CacheEvent) -> None:
        """A cache event of one of this pool's pods."""
        self.caches.hear(event)

    async def _on_cancel(self, signal: Signal) -> None:
        try:
            notice = decode(signal.data, CancelNotice)
        except Malformed as error:
            logger.error("a cancel for %s cannot be read: %s", self.shard.claim_name, error)
            return
        now = self._monotonic()
        if self._may_act(now):
            for item in notice.requests:
                effects = self.state.cancel((item.rid, item.attempt), item.remaining_s, now)
                self._decisions.client_gone(effects.acknowledged, now)
                await self._act(effects)

    def list_pods(self, pods: ShardPods) -> None:
        """The shard's pods by SERVING; new ones are asked what they have."""
        self._pods = pods
        new = self._list_pods()
        if self.is_claimed:
            self._inquiry.ask(new)

    def _list_pods(self) -> set[str]:
        """Until all is known also those of other shards, which get nothing; returns the names that are new."""
        listed = self._pods.own if self._knows_all else self._pods.with_retired_others()
        new = listed.keys() - self.state.fleet.pods.keys()
        self.state.fleet.list_pods(listed)
        self._scheduler.list_pods(self.state.fleet.pods)
        self.caches.retain(self.state.fleet.pods)
        return new

    def follow(self, pool: Pool) -> None:
        """Serve as SERVING says: tenants by its weights, pods by its profile, or by the last good one when that cannot
        be used."""
        if pool.weights != self._weights:
            self._weights = pool.weights
            self.state.queue.reweigh(pool.weights)
        self.state.split_by(pool.disaggregation)
        self.state.bound_tpot(pool.max_tpot_s)
        try:
            changed = self._scheduler.follow(pool.profile)
        except BadProfile as error:
            logger.error("%s stays with the profile %r: %s", self.shard.claim_name, self._scheduler.name, error)
        else:
            if changed:
                logger.info("%s is scheduled by the profile %r", self.shard.claim_name, self._scheduler.name)

    async def drop_gateway(self, gateway: str) -> None:
        now = self._monotonic()
        if self._may_act(now):
            effects = self.state.drop_gateway(gateway)
            self._decisions.client_gone(effects.acknowledged, now)
            await self._act(effects)

    def knows_all(self) -> bool:
        """True when whatever this shard's stream holds was seen here: who is not known then never came."""
        return self._knows_all and self._may_act(self._monotonic())

    def where(self, key: RequestKey) -> WhereAnswer | None:
        """None when it was not seen. While more may be stored than was seen, it counts as queued behind all."""
        now = self._monotonic()
        if not self._may_act(now):
            return None
        answer = self.state.where(key, now)
        if answer is None and self._intake.is_starved():
            return WhereAnswer("queued", position=len(self.state.queue))
        return answer

    async def tick(self, *, is_listed: bool) -> None:
        """What only time brings about: silence, deadlines, reports, the end of a pool that left SERVING."""
        now = self._monotonic()
        if not (self.is_claimed and self._may_act(now)):
            return
        for pod in self.state.fleet.tick(now, self._bus.link.up_since()):
            self._inquiry.ask_silent(pod.name)
            self.caches.gone(pod.name)
        self._inquiry.ask(self.state.fleet.to_ask(now))
        self.state.sweep(now)
        self._scheduler.tick(self.state.fleet.pods, now)
        await self._act(self.state.expire(now))
        await self._act(self.state.give_up_halves(now))
        await self._act(self.state.check_pool(is_listed, now))
        await self._reporter.tick(now)
        self._fairness.tick(self.state.epoch, now)
        self._suspicions.tick(self.state.epoch, now)
        if self._decisions.is_due(now):
            await self._decisions.flush(self.state.epoch)

    def tick_caches(self, now: float) -> None:
        """What time brings about for the index of caches, ten times a second."""
        for suspicion in self.caches.tick(now):
            logger.warning("%s: %s", self.shard.claim_name, suspicion)

    # -- what goes out
    async def _act(self, effects: Effects) -> None:
        """Carry out what was decided, and place what can be placed now."""
        if effects:
            await self._carry_out(effects)
        await self._pump(self._monotonic())

    async def _carry_out(self, effects: Effects) -> None:
        self._decisions.follow(effects, self._monotonic())
        await self._outbox.carry_out(self.shard.namespace, effects)
        if effects.has_deaths:
            self._death_toll.note(self.state.deaths, self.state.epoch, self._monotonic())
        for request in effects.acknowledged:
            if request.reign == self.state.epoch:
                self._intake.gave_back(request.size_bytes)
        self._intake.grant()
        self._inquiry.ask(effects.ask)

    async def _pump(self, now: float, fresh: Envelope | None = None) -> None:
        """Place as long as somebody waits and some pod has room. `fresh` is an envelope that was decoded just now."""
        while self._may_place(now):
            if self.state.queue.earliest_deadline <= now:
                await self._carry_out(self.state.expire(now))
            placements = self.state.place(now, _ROUND)
            for placement in placements:
                self._decisions.record(placement)
                await self._sender.send(placement, fresh)
            self._reporter.rate.count(len(placements))
            if self._decisions.is_full():
                await self._decisions.flush(self.state.epoch)
            if len(placements) < _ROUND:
                return
            await asyncio.sleep(0)
            now = self._monotonic()

    def _not_stored(self, placement: Placement, work: WorkKey, is_impossible: bool) -> None:
        """The next tick places it again, unless no message can hold it."""
        if self._is_retired:
            return
        request = placement.request
        if is_impossible:
            effects = self.state.post_impossible(request, work)
        else:
            effects = self.state.post_failed(request, work, self._monotonic())
        if effects:
            self._background.spawn(self._act(effects), f"taking {work.rid} back")

    async def _dismiss(self, delivery: Delivery) -> None:
        await self._outbox.acknowledge(delivery)
        self._intake.gave_back(len(delivery.data))
        self._intake.grant()
