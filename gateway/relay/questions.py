"""Asking after silent requests: dispatch for where one is, an agent for the chunks that did not come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from matrixinfer.bus.absence import AbsenceRule, heard
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Replay, Replayed, ReplayItem, Reply
from matrixinfer.bus.contracts.dispatch import WhereAnswer, WhereQuestion
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import BusError, Malformed, NobodyThere, TimedOut
from matrixinfer.gateway.errors import UpstreamLost
from matrixinfer.gateway.relay.binding import Source
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.relay import Relay
from matrixinfer.gateway.relay.watch import GONE_AFTER_S, Finding

log = logging.getLogger("matrixinfer.gateway.questions")

ANSWER_WITHIN_S = 2.0
AT_ONCE = 64
"""Questions to dispatch under way at the same time."""

PodName = tuple[str, str]


class Questions:
    """Every method may be called at any time; a question that is under way is not asked twice."""

    def __init__(self, bus: Bus, relay: Relay, republish: Callable[[Exchange], Awaitable[None]]) -> None:
        self._bus = bus
        self._relay = relay
        self._republish = republish
        self._absence: AbsenceRule[PodName] = AbsenceRule(GONE_AFTER_S)
        self._places = asyncio.Semaphore(AT_ONCE)

    def keep_pods(self, pods: set[PodName]) -> None:
        """Only these pods' absence still matters."""
        self._absence.keep_only(pods)

    async def ask_agent(self, pod: PodName, wanted: dict[WorkKey, Exchange]) -> None:
        """Ask one pod for what each request misses; requests that it does not know any more are lost."""
        items = [ReplayItem(key, exchange.binding.next_number) for key, exchange in wanted.items()]
        try:
            data = await self._request(self._bus.subjects.control(*pod), encode(Replay(items)))
            reply: Reply = decode(data, Reply)  # type: ignore[arg-type]  # a union is no type[T]
        except Malformed as error:
            log.warning("pod %s answered a replay with something else: %s", pod[1], error)
        except BusError as error:
            self._no_answer(pod, wanted, error)
        else:
            self._observe(pod, None)
            if isinstance(reply, Replayed):
                self._replayed(pod, wanted, reply)

    async def ask_dispatch(self, exchange: Exchange) -> None:
        """Ask where an unbound request is, and act on the answer."""
        exchange.asking = True
        try:
            async with self._places:
                await self._ask_dispatch(exchange)
        finally:
            exchange.asking = False

    async def _ask_dispatch(self, exchange: Exchange) -> None:
        envelope = exchange.envelope
        if exchange.ended or exchange.binding.source is not None:
            return
        question = encode(WhereQuestion(exchange.rid, envelope.attempt))
        try:
            data = await self._request(self._bus.subjects.where(envelope.namespace, envelope.modelserver), question)
            answer = decode(data, WhereAnswer)
        except NobodyThere:
            return  # a dispatcher is coming, and finds the request in the stream
        except BusError as error:
            log.info("no answer to where request %s is: %s", exchange.rid, error)
            return
        if not exchange.ended and exchange.binding.source is None and envelope is exchange.envelope:
            await self._act(exchange, answer)

    async def _act(self, exchange: Exchange, answer: WhereAnswer) -> None:
        envelope = exchange.envelope
        finding = exchange.silence.judge(answer, self._bus.clock.monotonic(), envelope.attempt)
        if finding is Finding.REPUBLISH:
            log.warning("dispatch does not know request %s: publishing it again", exchange.rid)
            await self._republish(exchange)
        elif finding is Finding.FETCH:
            key = WorkKey(exchange.rid, envelope.attempt, answer.hop, answer.phase)
            exchange.fetching_from = (envelope.namespace, answer.pod)
            await self.ask_agent(exchange.fetching_from, {key: exchange})
        elif finding is Finding.LOST:
            self._lose(exchange, "its answer was lost on the way")

    async def _request(self, subject: str, data: bytes) -> bytes:
        return await self._bus.signals.request(subject, data, timeout_s=ANSWER_WITHIN_S)

    def _replayed(self, pod: PodName, wanted: dict[WorkKey, Exchange], reply: Replayed) -> None:
        now = self._bus.clock.monotonic()
        source = Source(pod[0], pod[1], reply.boot)
        for chunk in reply.chunks:
            exchange = wanted.get(WorkKey(chunk.rid, chunk.attempt, chunk.hop, chunk.phase))
            if exchange is not None:
                self._relay.feed(exchange, source, chunk, now)
        unknown = set(reply.unknown)
        for key, exchange in wanted.items():
            bound = exchange.binding.source
            if key in unknown or (bound is not None and bound.pod == pod[1] and bound.boot != reply.boot):
                self._lose(exchange, f"agent {pod[1]} no longer has it: it restarted or forgot it")
            else:
                exchange.silence.heard(now)

    def _no_answer(self, pod: PodName, wanted: dict[WorkKey, Exchange], error: BusError) -> None:
        if not isinstance(error, NobodyThere | TimedOut):
            log.info("no answer from pod %s: %s", pod[1], error)
        if self._observe(pod, error):
            for exchange in wanted.values():
                self._lose(exchange, f"agent {pod[1]} is gone")

    def _observe(self, pod: PodName, error: BusError | None) -> bool:
        now, link = self._bus.clock.monotonic(), self._bus.link
        return self._absence.observe(pod, now, heard(error), link.up_since())

    def _lose(self, exchange: Exchange, why: str) -> None:
        if not exchange.ended:
            log.warning("request %s is lost: %s", exchange.rid, why)
            self._relay.fail(exchange, UpstreamLost(f"the request was lost: {why}").failure())
