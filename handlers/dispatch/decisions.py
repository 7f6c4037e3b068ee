"""The record of placements and of what became of them, in batches: what was decided, among which pods, why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import cast

from msgspec import Raw

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.decision import (
    Decision,
    DecisionBatch,
    Ending,
    FirstToken,
    Inputs,
    PodSight,
    Rejection,
)
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.ports import Stored
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Seen
from matrixinfer.handlers.dispatch.settings import DispatchSettings

logger = logging.getLogger("matrixinfer.dispatch.decisions")

_HASH_BYTES = 8
CLIENT_GONE = 499
"""nginx's status of a request whose client closed the connection."""


class _Batch:
    """What waits for its message. A pod's sight is in it once, however many decisions saw it.

    `decisions` are encoded at once: thousands of small objects that live for a second keep the garbage collector busy.
    """

    def __init__(self) -> None:
        self.decisions: list[Raw] = []
        self.sights: list[PodSight] = []
        self.first_tokens: list[FirstToken] = []
        self.endings: list[Ending] = []
        self.rejections: list[Rejection] = []
        self._indices: dict[int, int] = {}
        """By the sights' identities, which stay theirs as long as they are in `sights`."""

    def __len__(self) -> int:
        return len(self.decisions) + len(self.first_tokens) + len(self.endings) + len(self.rejections)

    def inputs(self, seen: Seen) -> Inputs:
        return Inputs(seen.now, seen.everyone, seen.everyone_used, [self._index(s) for s in seen.sights], *seen[4:])

    def _index(self, sight: PodSight) -> int:
        index = self._indices.get(id(sight))
        if index is None:
            index = self._indices[id(sight)] = len(self.sights)
            self.sights.append(sight)
        return index


class DecisionLog:
    """Of one pool's shard. A batch that cannot be stored is lost, and logged: placing never waits for its record."""

    def __init__(self, bus: Bus, shard: PoolShard, settings: DispatchSettings) -> None:
        self._bus = bus
        self._shard = shard
        self._settings = settings
        self._batch = _Batch()
        self._since: float | None = None
        self._batches = 0

    def record(self, placement: Placement) -> None:
        request, work, batch = placement.request, placement.work, self._batch
        decision = Decision(
            work.rid,
            work.attempt,
            work.hop,
            request.tenant,
            placement.pod,
            placement.boot,
            self._bus.clock.now(),
            placement.queued_s,
            request.prompt_tokens,
            placement.candidates,
            placement.policy,
            request.output_tokens,
            request.cached_tokens,
            request.priority,
            request.adapter,
            request.session,
            request.block_hashes[:_HASH_BYTES],
            list(request.near),
            placement.waiting,
            placement.fairness,
            batch.inputs(placement.seen) if placement.seen is not None else None,
            placement.prefill.pod if placement.prefill is not None else "",
        )
        batch.decisions.append(Raw(encode(decision)))

    def follow(self, effects: Effects, now: float) -> None:
        """What became of requests."""
        self._batch.first_tokens += effects.first_tokens
        self._batch.endings += effects.endings
        for request, failure in effects.failed:
            self._reject(request, failure.status, failure.message, now)

    def client_gone(self, requests: Iterable[Request], now: float) -> None:
        """They left before they had started."""
        for request in requests:
            self._reject(request, CLIENT_GONE, "the client went away before the first token", now)

    def is_due(self, now: float) -> bool:
        """Asked at every tick: the oldest record waits for one interval, and a tick at most."""
        if not len(self._batch):
            return False
        self._since = now if self._since is None else self._since
        return now - self._since >= self._settings.decisions_every_s

    def is_full(self) -> bool:
        return len(self._batch.decisions) >= self._settings.decisions_batch

    def take(self, epoch: int) -> DecisionBatch:
        """What waits, as one message; from now on nothing waits."""
        batch, shard = self._batch, self._shard
        self._batch, self._since = _Batch(), None
        return DecisionBatch(
            shard.namespace,
            shard.modelserver,
            epoch,
            cast("list[Decision]", batch.decisions),  # encoded as they are, and so decoded as what they are
            shard=shard.shard,
            sights=batch.sights,
            first_tokens=batch.first_tokens,
            endings=batch.endings,
            rejections=batch.rejections,
        )

    async def flush(self, epoch: int) -> None:
        count, shard = len(self._batch), self._shard
        if not count:
            return
        message = self.take(epoch)
        self._batches += 1
        subject = self._bus.subjects.decision(shard.namespace, shard.modelserver)
        message_id = f"{shard.claim_name}:{epoch}:{self._batches}"
        try:
            stored = await self._bus.queue.post(subject, encode(message), message_id=message_id)
        except BusError as error:
            _lost(count, error)
        else:
            stored.add_done_callback(lambda future: _look(future, count))

    def _reject(self, request: Request, status: int, reason: str, now: float) -> None:
        rid, attempt = request.key
        waited_s, at = now - request.since, self._bus.clock.now()
        self._batch.rejections.append(
            Rejection(rid, attempt, request.hop, request.tenant, at, waited_s, status, reason)
        )


def _look(stored: asyncio.Future[Stored], count: int) -> None:
    if not stored.cancelled() and (error := stored.exception()) is not None:
        _lost(count, error)


def _lost(count: int, error: BaseException) -> None:
    logger.warning("%d records of decisions are lost: %s", count, error)
