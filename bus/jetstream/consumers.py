"""Durable consumers: creating, fencing with `exclusive`, and telling who was superseded."""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import NamedTuple

from matrixinfer.bus.errors import Conflict, LeaseLost, Unavailable
from matrixinfer.bus.jetstream.api import SECOND_NS, Api, Json
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.jetstream.refusals import CONSUMER_NOT_FOUND, OVERLAPPING_CONSUMER, Refused
from matrixinfer.bus.ports.queue import Backlog, Consumer

logger = logging.getLogger("matrixinfer.bus.jetstream.consumers")

EXCLUSIVE = "matrixinfer-exclusive"
EPOCH = "matrixinfer-epoch"

_MAX_WAITING = 512
_FENCING_ATTEMPTS = 10


class Looks(NamedTuple):
    """Messages that were not delivered yet, that were, and pulls that wait for one."""

    waiting: int
    unacknowledged: int
    pulls: int


def consumer_config(consumer: Consumer) -> Json:
    start: Json = {"deliver_policy": "all"}
    if consumer.since is not None:
        at = datetime.datetime.fromtimestamp(consumer.since, datetime.UTC)
        start = {"deliver_policy": "by_start_time", "opt_start_time": at.isoformat()}
    return {
        **start,
        "name": consumer.name,
        "durable_name": consumer.name,
        "filter_subject": consumer.filter,
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": int(consumer.ack_wait_s * SECOND_NS),
        "max_ack_pending": consumer.max_ack_pending,
        "max_waiting": _MAX_WAITING,
        "inactive_threshold": int(consumer.unused_s * SECOND_NS),
        "metadata": {EXCLUSIVE: "true", EPOCH: str(consumer.epoch)} if consumer.exclusive else {},
    }


class Consumers:
    def __init__(self, api: Api, names: Names) -> None:
        self._api = api
        self._names = names

    async def open(self, consumer: Consumer) -> None:
        """Create or update it; an exclusive one deletes its rivals first, and again should one come back meanwhile.

        Raises Unavailable, Denied, Conflict (another consumer reads the same messages), LeaseLost (an exclusive one
        of a later epoch does)."""
        for _ in range(_FENCING_ATTEMPTS):
            if consumer.exclusive:
                await self._delete_rivals(consumer)
            try:
                await self.create(consumer)
            except Conflict:
                if not consumer.exclusive:
                    raise
            else:
                return
        raise Unavailable(f"consumer {consumer.name!r}: its rivals come back as fast as they are deleted")

    async def create(self, consumer: Consumer) -> None:
        stream = self._names.stream(consumer.stream)
        body = {"stream_name": stream, "config": consumer_config(consumer), "action": ""}
        try:
            await self._api.call(f"CONSUMER.CREATE.{stream}.{consumer.name}", body)
        except Refused as error:
            if error.code in OVERLAPPING_CONSUMER:
                raise Conflict(
                    f"consumer {consumer.name!r} with filter {consumer.filter!r} overlaps another of {stream}: "
                    "a work queue's message has one reader"
                ) from error
            raise

    async def look(self, consumer: Consumer) -> Looks | None:
        """How it is doing; None when it is not there."""
        try:
            info = await self._api.call(f"CONSUMER.INFO.{self._names.stream(consumer.stream)}.{consumer.name}")
        except Refused as error:
            if error.code != CONSUMER_NOT_FOUND:
                raise
            return None
        # what was given back and waits to be delivered again counts as unacknowledged
        return Looks(int(info["num_pending"]), int(info["num_ack_pending"]), int(info["num_waiting"]))

    async def is_superseded(self, consumer: Consumer) -> bool:
        """Does an exclusive successor read what this consumer read?"""
        return any(_config(other, "metadata").get(EXCLUSIVE) for other in await self._rivals(consumer))

    async def backlog(self, consumer: Consumer) -> Backlog:
        looks = await self.look(consumer)
        if looks is not None:
            return Backlog(looks.waiting, looks.unacknowledged)
        stream = self._names.stream(consumer.stream)
        info = await self._api.call(f"STREAM.INFO.{stream}", {"subjects_filter": consumer.filter})
        return Backlog(sum((info["state"].get("subjects") or {}).values()), 0)

    async def _delete_rivals(self, consumer: Consumer) -> None:
        rivals = await self._rivals(consumer)
        for rival in rivals:
            if int(_config(rival, "metadata").get(EPOCH, 0)) > consumer.epoch:
                raise LeaseLost(f"consumer {consumer.name!r}: {rival['name']!r} of a later epoch reads already")
        await asyncio.gather(*(self._delete(consumer.stream, str(rival["name"])) for rival in rivals))

    async def _delete(self, stream: str, name: str) -> None:
        try:
            await self._api.call(f"CONSUMER.DELETE.{self._names.stream(stream)}.{name}")
        except Refused as error:
            if error.code != CONSUMER_NOT_FOUND:
                raise
        logger.info("deleted consumer %s of %s: it has a successor", name, stream)

    async def _rivals(self, consumer: Consumer) -> list[Json]:
        """The other consumers with the same filter."""
        found: list[Json] = []
        offset = 0
        while True:
            page = await self._api.call(f"CONSUMER.LIST.{self._names.stream(consumer.stream)}", {"offset": offset})
            consumers = page.get("consumers") or []
            found += consumers
            offset += len(consumers)
            if not consumers or offset >= int(page.get("total", 0)):
                break
        same = [info for info in found if info["config"].get("filter_subject") == consumer.filter]
        return [info for info in same if info["name"] != consumer.name]


def _config(info: Json, field: str) -> Json:
    value: Json = info["config"].get(field) or {}
    return value
