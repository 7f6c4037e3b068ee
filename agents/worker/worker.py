"""One agent at work: its parts wired, its chores, and its way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from matrixinfer.agents.engines.port import CacheTeller, Engine, EngineInfo
from matrixinfer.agents.worker.adapters import Adapters, Fetch, nowhere
from matrixinfer.agents.worker.books import open_books
from matrixinfer.agents.worker.cache_diary import CacheDiary
from matrixinfer.agents.worker.cache_publisher import TELL_EVERY_S, CachePublisher
from matrixinfer.agents.worker.control import Control
from matrixinfer.agents.worker.driver import Driver
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.ledger import keys_of
from matrixinfer.agents.worker.periodic import every, first_of
from matrixinfer.agents.worker.presence import ASK_EVERY_S, Presence
from matrixinfer.agents.worker.sender import Sender
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.load import Snapshot
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.ports import Consumer
from matrixinfer.bus.subjects import escape
from matrixinfer.bus.topology import ACK_WAIT_WORK_S

log = logging.getLogger("matrixinfer.agents.worker")

SNAPSHOT_EVERY_S = 0.5
DEADLINES_EVERY_S = 0.1
HEARTBEAT_EVERY_S = ACK_WAIT_WORK_S / 3
REMEMBER_EVERY_S = 1.0


class Worker:
    """`engine` is started, and `info` is what it said of itself. `fetch` gets the weights of LoRA adapters."""

    def __init__(
        self,
        identity: Identity,
        bus: Bus,
        engine: Engine,
        info: EngineInfo,
        *,
        served_model: str,
        drain_s: float,
        replay_bytes: int,
        fetch: Fetch = nowhere,
    ) -> None:
        self._identity = identity
        self._bus = bus
        self._clock = bus.clock
        self._engine = engine
        self._info = info
        self._drain_s = drain_s
        self._books = open_books(identity, replay_bytes)
        self._ledger = self._books.ledger
        self._reporter = self._books.reporter
        self._sender = Sender(bus, self._books, self.snapshot)
        self._driver = Driver(self._books, bus, engine, served_model, self._sender)
        teller = engine if info.tells_cache and isinstance(engine, CacheTeller) else None
        diary = CacheDiary(identity, teller, tokens_only=info.names_tokens)
        self._control = Control(self._books, self._clock, self._driver, diary, drain=self.drain, snapshot=self.snapshot)
        self._cache = CachePublisher(bus, identity, diary)
        self._presence = Presence(bus, self._books, self._driver)
        self._adapters = Adapters(bus, identity, engine, fetch, self._tell_state)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then drain, close the engine and say the last things. A chore that dies ends this."""
        me, subjects = self._identity, self._bus.subjects
        async with asyncio.TaskGroup() as tasks:
            control = await self._bus.signals.subscribe(subjects.control(me.namespace, me.pod), self._control.on_signal)
            handover = await self._bus.signals.subscribe(
                subjects.handover(me.namespace, me.pod), self._driver.pairs.on_signal
            )
            consumption = await self._bus.queue.consume(
                self._consumer(), self._driver.on_work, credits=self._info.slots
            )
            self._sender.grant_to(consumption)
            chores = [tasks.create_task(chore) for chore in self._chores()]
            self._bus.link.on_restored(self._tell_state)
            await self._tell_state()  # the first load event: from now on dispatch sends work
            log.info("pod %s (boot %s) is ready with %d slots", me.pod, me.boot, self._info.slots)
            await stop.wait()
            await self._leave()
            await consumption.stop()
            await control.close()
            await handover.close()
            for chore in chores:
                chore.cancel()
        await self._sender.flush()
        await self._driver.pairs.counterparts.close()

    def drain(self) -> None:
        """Take no more work: what still comes is refused, which sends it to another pod at once."""
        if not self._ledger.draining:
            log.info("pod %s drains: %d in hand", self._identity.pod, len(self._ledger.in_hand))
        self._ledger.draining = True
        self._reporter.demand_snapshot()
        self._sender.wake()

    def snapshot(self, now: float) -> Snapshot:
        load = self._engine.load()
        return Snapshot(
            slots=self._info.slots,
            running=keys_of(self._ledger.running()),
            waiting=keys_of(self._ledger.waiting()),
            running_tokens=load.running_tokens,
            waiting_tokens=load.waiting_tokens,
            kv_capacity_tokens=self._info.kv_capacity_tokens,
            kv_usage=load.kv_usage,
            ttft_s=self._reporter.ttft_s.value(),
            tpot_s=self._reporter.tpot_s.value(),
            adapters=list(load.adapters),
            frame_numbers=self._books.outbox.numbers(now),
            bootstrap=self._info.bootstrap,
        )

    def _consumer(self) -> Consumer:
        me = self._identity
        return Consumer(
            stream="WORK",
            name=f"a-{escape(me.namespace)}-{escape(me.pod)}",
            filter=self._bus.subjects.work(me.namespace, me.pod),
            ack_wait_s=ACK_WAIT_WORK_S,
            max_ack_pending=max(64, 2 * self._info.slots),  # credits are the bound; acknowledgements may be under way
        )

    def _chores(self) -> list[Coroutine[Any, Any, None]]:
        clock = self._clock
        telling = [every(clock, TELL_EVERY_S, self._cache.tell)] if self._info.tells_cache else []
        return [
            *telling,
            self._sender.run(),
            self._adapters.run(),
            every(clock, SNAPSHOT_EVERY_S, self._tell_state),
            every(clock, DEADLINES_EVERY_S, self._watch_deadlines),
            every(clock, HEARTBEAT_EVERY_S, self._beat),
            every(clock, REMEMBER_EVERY_S, self._forget),
            every(clock, ASK_EVERY_S, self._presence.look),
        ]

    async def _leave(self) -> None:
        self.drain()
        await first_of(self._driver.idle.wait(), self._clock.sleep(self._drain_s))
        if self._ledger.in_hand:
            log.warning("%d in hand did not finish within %g s", len(self._ledger.in_hand), self._drain_s)
        self._driver.end_all()
        await self._engine.close()
        self._reporter.demand_snapshot()

    # -- chores
    async def _tell_state(self) -> None:
        self._reporter.demand_snapshot()
        self._sender.wake()

    async def _watch_deadlines(self) -> None:
        self._driver.end_overdue()

    async def _beat(self) -> None:
        """Tell the queue that what waits for its first token is not forgotten."""
        for run in self._ledger.waiting():
            try:
                await run.delivery.in_progress()
            except BusError as error:  # it comes again, and is known
                log.debug("no heartbeat for %s: %s", run.delivery.message_id, error)

    async def _forget(self) -> None:
        now = self._clock.monotonic()
        self._ledger.forget(now)
        self._books.replay.forget(now)
        self._driver.pairs.forget(now)
