"""Words to the agent that has the other half of a request: said again until it has heard them, or is gone."""

from __future__ import annotations

import asyncio
import logging

from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.absence import AbsenceRule, heard
from matrixinfer.bus.background import end, spawn, within
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Done
from matrixinfer.bus.contracts.disaggregation import Handover
from matrixinfer.bus.errors import BusError, Denied, Malformed, TooLarge

log = logging.getLogger("matrixinfer.agents.counterparts")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
ANSWER_WITHIN_S = 1.0
GONE_AFTER_S = 6.0
LEAST_S = 5.0
"""A word is worth so long even where the request's deadline is past: the other half may not have noticed."""
LAST_WORDS_S = 2.0


class Counterparts:
    """One task for each word that is under way."""

    def __init__(self, bus: Bus, identity: Identity) -> None:
        self._bus = bus
        self._clock = bus.clock
        self._namespace = identity.namespace
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, pod: str, word: Handover, until: float) -> None:
        """Say `word` to `pod`, of this agent's namespace, until it answers or the monotonic time `until` is over.

        The life of the pod that the word is for answers, or a later one: then nobody is left to hear it.
        """
        until = max(until, self._clock.monotonic() + LEAST_S)
        task = spawn(self._tell(pod, word, until), f"{type(word).__name__} to {pod}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let what is under way be heard, for a moment, and end the rest."""
        tasks = list(self._tasks)
        if tasks:
            await within(self._clock, LAST_WORDS_S, _all(tasks), "last words")
            await end(tasks)

    async def _tell(self, pod: str, word: Handover, until: float) -> None:
        subject, data = self._bus.subjects.handover(self._namespace, pod), encode(word)
        absence: AbsenceRule[str] = AbsenceRule(GONE_AFTER_S)
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                answer = await self._bus.signals.request(subject, data, timeout_s=ANSWER_WITHIN_S)
                if decode(answer, Done).boot != word.boot:
                    log.info("%s began anew: what %s was told it is lost", pod, word.key.rid)
                return
            except (Malformed, Denied, TooLarge) as error:
                log.error("%s cannot be told of %s: %s", pod, word.key.rid, error)
                return
            except BusError as error:
                now = self._clock.monotonic()
                if absence.observe(pod, now, heard(error), self._bus.link.up_since()) or now + pause_s >= until:
                    log.warning("%s did not hear of %s: %s", pod, word.key.rid, error)
                    return
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
