"""Questions to agents: what do you have? Asked at a takeover, of a new boot, after a gap, and of who fell silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Dump, Dumped, Reply
from matrixinfer.bus.errors import BusError, Malformed, NobodyThere
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.pool_state import PoolState

logger = logging.getLogger("matrixinfer.dispatch.inquiry")


class Act(Protocol):
    """What to do with what followed from an answer: carry it out, and place again."""

    async def __call__(self, effects: Effects) -> None: ...


class Inquiry:
    """Of one pool's shard; at most one question is on its way to each pod."""

    def __init__(self, bus: Bus, shard: PoolShard, state: PoolState, timeout_s: float, act: Act) -> None:
        self._bus = bus
        self._shard = shard
        self._state = state
        self._timeout_s = timeout_s
        self._act = act
        self._asking: set[str] = set()
        self._background = Background()

    async def ask_all(self) -> None:
        """Ask every pod of the pool at once; returns when all answered, or could not in time."""
        await asyncio.gather(*[self._ask(pod) for pod in list(self._state.fleet.pods)])

    def ask(self, pods: Iterable[str]) -> None:
        """Ask, beside whatever else goes on."""
        for pod in pods:
            if pod not in self._asking:
                self._asking.add(pod)
                self._background.spawn(self._ask_once(pod), f"asking {pod} what it runs")

    def ask_silent(self, pod: str) -> None:
        """The pod fell silent: ask once more, so as to know a dead one from a slow one, then place its work anew."""
        self._background.spawn(self._part_from(pod), f"asking the silent {pod}")

    async def close(self) -> None:
        await self._background.close()

    async def _ask_once(self, pod: str) -> None:
        try:
            await self._ask(pod)
        finally:
            self._asking.discard(pod)

    async def _part_from(self, pod: str) -> None:
        asked_at = self._bus.clock.monotonic()
        error = await self._ask(pod)
        up_since = self._bus.link.up_since()
        died = isinstance(error, NobodyThere) and up_since is not None and up_since <= asked_at
        logger.warning("pod %s/%s is %s", self._shard.namespace, pod, "gone" if died else "silent")
        await self._act(self._state.lost(pod, died=died))

    async def _ask(self, pod: str) -> BusError | None:
        """Take the answer in; returns why there was none."""
        shard, asked_at, epoch = self._shard, self._bus.clock.monotonic(), self._state.epoch
        question = Dump(shard.namespace, shard.modelserver, shard.shard, epoch)
        subject = self._bus.subjects.control(shard.namespace, pod)
        try:
            answer = await self._bus.signals.request(subject, encode(question), timeout_s=self._timeout_s)
            reply: object = decode(answer, Reply)  # type: ignore[arg-type]  # a union is not a class
        except BusError as error:
            logger.debug("pod %s/%s does not tell what it runs: %s", shard.namespace, pod, error)
            return error
        if not isinstance(reply, Dumped):
            return Malformed(f"pod {pod}: expected Dumped, met {type(reply).__name__}")
        if epoch == self._state.epoch:
            await self._act(self._state.dumped(pod, reply, asked_at, self._bus.clock.monotonic()))
        return None
