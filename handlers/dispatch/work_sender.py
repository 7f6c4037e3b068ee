"""Posts placed requests to the WORK of their pods, and looks at what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.errors import BusError, TooLarge
from matrixinfer.bus.ids import work_message_id
from matrixinfer.bus.ports import Stored
from matrixinfer.handlers.dispatch.placing import Placement

logger = logging.getLogger("matrixinfer.dispatch.work_sender")

_SHORTEST_TTL_S = 1.0


class WorkSender:
    """Of one pool's shard. `on_failure` is called with the placement, from a callback: it must not wait."""

    def __init__(self, bus: Bus, namespace: str, on_failure: Callable[[Placement, bool], None]) -> None:
        self._bus = bus
        self._namespace = namespace
        self._on_failure = on_failure

    async def send(self, placement: Placement, fresh: Envelope | None) -> None:
        """Does not wait until it is stored. `fresh` is an envelope that was decoded just now, maybe of another one."""
        work = placement.work
        if fresh is None or fresh.rid != work.rid or fresh.attempt != work.attempt:
            fresh = decode(placement.request.held.data, Envelope)
        envelope = msgspec.structs.replace(
            fresh,
            epoch=placement.epoch,
            hop=work.hop,
            phase=work.phase,
            boot=placement.boot,
            remaining_s=placement.remaining_s,
        )
        try:
            future = await self._bus.queue.post(
                self._bus.subjects.work(self._namespace, placement.pod),
                encode(envelope),
                message_id=work_message_id(work.rid, work.attempt, placement.epoch, work.hop, work.phase),
                ttl_s=max(_SHORTEST_TTL_S, placement.remaining_s),
            )
        except BusError as error:
            self._failed(placement, error)
        else:
            future.add_done_callback(partial(self._look, placement))

    def _look(self, placement: Placement, stored: asyncio.Future[Stored]) -> None:
        if not stored.cancelled() and (error := stored.exception()) is not None:
            self._failed(placement, error)

    def _failed(self, placement: Placement, error: BaseException) -> None:
        logger.warning("work of %s for pod %s was not stored: %s", placement.work.rid, placement.pod, error)
        self._on_failure(placement, isinstance(error, TooLarge))
