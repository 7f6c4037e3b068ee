"""Once a second, a look at every request in flight: is it past its deadline, is it silent, does its client read?"""

from __future__ import annotations

from collections import defaultdict

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.gateway.errors import DeadlineExceeded
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.questions import PodName, Questions
from matrixinfer.gateway.relay.relay import Relay
from matrixinfer.gateway.relay.watch import Step

EVERY_S = 1.0
LINGER_S = 30.0
"""How long a client may take to read what was left for it when its request ended."""


class Watchdog:
    def __init__(self, bus: Bus, relay: Relay, questions: Questions, background: Background) -> None:
        self._bus = bus
        self._relay = relay
        self._questions = questions
        self._background = background
        self._being_asked: set[PodName] = set()
        relay.on_gap = self._fill_gap

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._bus.clock.sleep(EVERY_S)
            self._look(self._bus.clock.monotonic())

    def _look(self, now: float) -> None:
        silent: defaultdict[PodName, dict[WorkKey, Exchange]] = defaultdict(dict)
        pods: set[PodName] = set()
        for exchange in self._relay:
            source = exchange.binding.source
            if source is not None:
                pods.add((source.namespace, source.pod))
            elif exchange.fetching_from is not None:
                pods.add(exchange.fetching_from)
            if exchange.ended:
                self._see_off(exchange, now)
            elif self._next_step(exchange, now) is Step.ASK_AGENT and source is not None:
                silent[source.namespace, source.pod][exchange.binding.key(exchange.rid)] = exchange
        for pod, wanted in silent.items():
            self._ask(pod, wanted)
        self._questions.keep_pods(pods)
        self._relay.sweep(now)

    def _next_step(self, exchange: Exchange, now: float) -> Step:
        step = exchange.silence.next_step(
            now,
            bound=exchange.binding.source is not None,
            accepted=exchange.accepted,
            link_up_since=self._bus.link.up_since(),
        )
        if step is Step.EXPIRE:
            waited_s = now - exchange.posted_at
            text = f"no complete answer within the request's deadline of {waited_s:.0f} s"
            self._relay.fail(exchange, DeadlineExceeded(text).failure())
        elif step is Step.ASK_DISPATCH and not exchange.asking:
            self._background.spawn(self._questions.ask_dispatch(exchange), f"where is {exchange.rid}")
        return step

    def _see_off(self, exchange: Exchange, now: float) -> None:
        """It ended, but its door is not done: the client reads slowly, or not at all."""
        if exchange.lingering_since is None:
            exchange.lingering_since = now
        elif now - exchange.lingering_since >= LINGER_S:
            exchange.drop()

    def _fill_gap(self, exchange: Exchange) -> None:
        source = exchange.binding.source
        if source is not None and source.pod and self._bus.link.is_up():
            self._ask((source.namespace, source.pod), {exchange.binding.key(exchange.rid): exchange})

    def _ask(self, pod: PodName, wanted: dict[WorkKey, Exchange]) -> None:
        """One question to a pod at a time; what is left over, the next second asks."""
        if pod not in self._being_asked:
            self._being_asked.add(pod)
            self._background.spawn(self._ask_agent(pod, wanted), f"replay from {pod[1]}")

    async def _ask_agent(self, pod: PodName, wanted: dict[WorkKey, Exchange]) -> None:
        try:
            await self._questions.ask_agent(pod, wanted)
        finally:
            self._being_asked.discard(pod)
