"""Posts placed requests to the WORK of their pods, and looks at what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.disaggregation import Counterpart
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import BusError, TooLarge
from matrixinfer.bus.ids import work_message_id
from matrixinfer.bus.ports import Stored
from matrixinfer.handlers.dispatch.pairs.counterparts import counterparts
from matrixinfer.handlers.dispatch.placing import Placement

logger = logging.getLogger("matrixinfer.dispatch.work_sender")

_SHORTEST_TTL_S = 1.0


class _Half(NamedTuple):
    """What goes to one agent: all of a request, or a half."""

    work: WorkKey
    pod: str
    boot: str
    counterpart: Counterpart | None = None


class WorkSender:
    """Of one pool's shard. `on_failure` is called with the placement, the work (of one half, where there are two) and
    whether it is too large for any message; from a callback: it must not wait."""

    def __init__(self, bus: Bus, namespace: str, on_failure: Callable[[Placement, WorkKey, bool], None]) -> None:
        self._bus = bus
        self._namespace = namespace
        self._on_failure = on_failure

    async def send(self, placement: Placement, fresh: Envelope | None) -> None:
        """Does not wait until it is stored. `fresh` is an envelope that was decoded just now, maybe of another one."""
        work = placement.work
        if fresh is None or fresh.rid != work.rid or fresh.attempt != work.attempt:
            fresh = decode(placement.request.held.data, Envelope)
        for half in _halves(placement):
            await self._post(placement, half, fresh)

    async def _post(self, placement: Placement, half: _Half, envelope: Envelope) -> None:
        work = half.work
        envelope = msgspec.structs.replace(
            envelope,
            epoch=placement.epoch,
            hop=work.hop,
            phase=work.phase,
            boot=half.boot,
            remaining_s=placement.remaining_s,
            counterpart=half.counterpart,
        )
        try:
            future = await self._bus.queue.post(
                self._bus.subjects.work(self._namespace, half.pod),
                encode(envelope),
                message_id=work_message_id(work.rid, work.attempt, placement.epoch, work.hop, work.phase),
                ttl_s=max(_SHORTEST_TTL_S, placement.remaining_s),
            )
        except BusError as error:
            self._failed(placement, work, error)
        else:
            future.add_done_callback(partial(self._look, placement, work))

    def _look(self, placement: Placement, work: WorkKey, stored: asyncio.Future[Stored]) -> None:
        if not stored.cancelled() and (error := stored.exception()) is not None:
            self._failed(placement, work, error)

    def _failed(self, placement: Placement, work: WorkKey, error: BaseException) -> None:
        logger.warning("work of %s (%s) for %s was not stored: %s", work.rid, work.phase, placement.pod, error)
        self._on_failure(placement, work, isinstance(error, TooLarge))


def _halves(placement: Placement) -> list[_Half]:
    """Prefill first: it has more to do."""
    work, prefill = placement.work, placement.prefill
    if prefill is None:
        return [_Half(work, placement.pod, placement.boot)]
    to_prefill, to_decode = counterparts(placement)
    return [
        _Half(prefill.work, prefill.pod, prefill.boot, to_decode),
        _Half(work, placement.pod, placement.boot, to_prefill),
    ]
