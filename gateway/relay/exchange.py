"""One request in flight: what was published, and what came back and waits for the door to fetch it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.dispatch import Cancelled
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Failure, Usage
from matrixinfer.bus.errors import Malformed
from matrixinfer.gateway.errors import SlowClient, UpstreamLost
from matrixinfer.gateway.relay.binding import Binding, Source
from matrixinfer.gateway.relay.pace import Pace
from matrixinfer.gateway.relay.watch import MAX_ATTEMPTS, Silence


class Exchange:
    """Filled by the relay on the loop, never waiting; emptied by one door that awaits `pull`.

    `ended` and either `usage` or `failure` are set with the last bytes. After that nothing changes any more.
    """

    __slots__ = (
        "_buffer_limit",
        "_is_resting",
        "_pace",
        "_parts",
        "_waiter",
        "_waiting_bytes",
        "_writing",
        "accepted",
        "asking",
        "binding",
        "ended",
        "envelope",
        "failure",
        "fetching_from",
        "lingering_since",
        "on_dropped",
        "posted_at",
        "rid",
        "settled",
        "silence",
        "usage",
    )

    def __init__(
        self, envelope: Envelope, now: float, buffer_limit: int, pace: Pace, *, attempts: int = MAX_ATTEMPTS
    ) -> None:
        self.rid = envelope.rid
        self.envelope = envelope
        self.posted_at = now
        self.binding = Binding()
        self.silence = Silence(now, now + envelope.remaining_s, attempts)
        self.accepted = False
        self.asking = False
        self.fetching_from: tuple[str, str] | None = None
        """(namespace, pod) that dispatch says has it, while nothing was heard from there."""
        self.ended = False
        self.settled = False
        """Ended by the sender's own last chunk: nothing is left to cancel."""
        self.lingering_since: float | None = None
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.on_dropped: Callable[[], None] | None = None
        """The door's way to drop the client when too much waits for it."""
        self._buffer_limit = buffer_limit
        self._pace = pace
        self._is_resting = False
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._writing = False
        self._waiter: asyncio.Future[None] | None = None

    def remaining_s(self, now: float) -> float:
        return self.silence.deadline_at - now

    def attempts_cancelled(self, now: float, *, but: int = 0) -> list[Cancelled]:
        """Every published attempt, for a cancel notice; except `but`."""
        remaining_s = max(1.0, self.remaining_s(now))
        attempts = range(1, self.envelope.attempt + 1)
        return [Cancelled(self.rid, attempt, remaining_s) for attempt in attempts if attempt != but]

    async def pull(self) -> bytes:
        """All bytes that wait, joined; waits until there are some. Empty only when `ended`. One caller at a time."""
        self._writing = False
        if not self._parts and not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._writing = True
        parts, self._parts = self._parts, []
        self._waiting_bytes = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pull_all(self) -> bytes:
        """Everything up to the end, joined."""
        parts = [await self.pull()]
        while not self.ended:
            parts.append(await self.pull())
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take(self, source: Source, chunk: Chunk) -> bool:
        """A chunk came. False when nobody wants it: it is of another hop, or the request was ended on this side."""
        if self.ended and not self.settled:
            return False
        if not source.pod:
            return self._hear_dispatch(chunk)
        due = self.binding.take(source, chunk)
        if due is None:
            return False
        for one in due:
            self._deliver(one)
        if self._waiting_bytes + self.binding.held_bytes > self._buffer_limit and not self.ended:
            self._overflow()
        return True

    def fail(self, failure: Failure) -> bool:
        """End it by an error; what waits is still delivered before. False when it had ended before."""
        if self.ended:
            return False
        self.failure = failure
        self.ended = True
        self._wake()
        return True

    def _hear_dispatch(self, chunk: Chunk) -> bool:
        """Dispatch only ever refuses, without a number; once an agent speaks, it is the agent's word that counts.
        A refusal of an attempt that was given up comes too late: a newer one is on its way."""
        if chunk.attempt != self.envelope.attempt:
            return False
        if self.binding.source is None:
            self._deliver(chunk)
        return True

    def drop(self) -> None:
        """Cut the client off: it does not read."""
        if self.on_dropped is not None:
            self.on_dropped()

    def _deliver(self, chunk: Chunk) -> None:
        if self.ended:
            return
        if chunk.kind == ChunkKind.FAILED:
            self.failure = read_failure(chunk.data)
            self._settle()
            return
        if chunk.data:
            self._parts.append(chunk.data)
            self._waiting_bytes += len(chunk.data)
        if chunk.kind == ChunkKind.END:
            self.usage = chunk.usage or Usage()
            self._settle()
        elif chunk.data and not self._is_resting:
            self._is_resting = True
            self._pace.rest(self._rested)
            self._wake()

    def _overflow(self) -> None:
        if self.binding.held_bytes > self._buffer_limit:
            text = f"{self.binding.held_bytes} bytes came after a part of the answer that is missing"
            self.fail(UpstreamLost(text).failure())
        elif self._writing:  # else the door takes all of it in this loop turn
            text = f"{self._waiting_bytes} bytes wait for a client that does not read"
            self._parts.clear()
            self.fail(SlowClient(text).failure())
            self.drop()

    def _settle(self) -> None:
        self.ended = self.settled = True
        self._wake()

    def _rested(self) -> bool:
        """Hand on what came during the rest, and rest again; else the next chunk leaves at once."""
        self._is_resting = bool(self._parts) and not self.ended
        if self._is_resting:
            self._wake()
        return self._is_resting

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def read_failure(data: bytes) -> Failure:
    """The error in a FAILED chunk; one that cannot be read is an error too."""
    try:
        return decode(data, Failure)
    except Malformed as error:
        return UpstreamLost(f"the request failed, and its error could not be read: {error}").failure()
