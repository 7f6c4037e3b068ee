"""Publishing to streams: one inbox for all PubAcks, a future for each message, one sweep for those unanswered.

This is the hottest path of the bus; a timer, a task or a dictionary of headers for each message would double its cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from matrixinfer.bus.background import spawn
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import BusError, Denied, Malformed, Unavailable
from matrixinfer.bus.jetstream.answers import NO_RESPONDERS
from matrixinfer.bus.jetstream.client import Client
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.jetstream.refusals import refusal
from matrixinfer.bus.ports.queue import Stored


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_decode: Callable[[bytes], _PubAck] = msgspec.json.Decoder(_PubAck).decode


class Posts:
    def __init__(
        self, client: Client, clock: Clock, names: Names, timeout_s: float, *, on_miss: Callable[[str], None]
    ) -> None:
        """`on_miss` is called when no stream takes a post."""
        self._client = client
        self._clock = clock
        self._names = names
        self._timeout_s = timeout_s
        self._on_miss = on_miss
        self._new_future = asyncio.get_running_loop().create_future
        self._inbox = client.new_inbox() + "."
        self._skip = len(self._inbox)
        self._count = 0
        self._waiting: dict[int, tuple[asyncio.Future[Stored], str, float]] = {}
        client.listen(self._inbox + "*", self._answered)
        client.on_denied.append(self._denied)
        self._sweeping = spawn(self._sweep(), "sweep unanswered posts")

    def send(self, subject: str, data: bytes, headers: str) -> asyncio.Future[Stored]:
        """`headers` are whole lines in ASCII, each with its CRLF. Raises TooLarge; all else fails the future."""
        client = self._client
        head_size = len(headers) + 12
        client.check_size(subject, head_size + len(data))
        if not subject.isprintable() or " " in subject:
            raise Malformed(f"{subject!r} cannot be a subject")
        self._count = number = self._count + 1
        future: asyncio.Future[Stored] = self._new_future()
        self._waiting[number] = (future, subject, self._clock.monotonic())
        command = (
            f"HPUB {subject} {self._inbox}{number} {head_size} {head_size + len(data)}\r\nNATS/1.0\r\n{headers}\r\n"
        )
        try:
            client.write(command.encode("ascii"), data, b"\r\n")
        except Unavailable as error:
            del self._waiting[number]
            future.set_exception(error)
        return future

    def fail_all(self, reason: str) -> None:
        """The connection broke: the messages may be stored or not. Posting them again does no harm, and is sooner
        than waiting for answers that were sent to nobody."""
        for number, (_, subject, _) in list(self._waiting.items()):
            self._fail(number, Unavailable(f"{subject}: {reason} before the server answered"))

    def close(self) -> None:
        self._sweeping.cancel()
        self.fail_all("the connection was closed")

    def _answered(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        waiting = self._waiting.pop(int(subject[self._skip :]), None)
        if waiting is None:
            return
        future, posted, _ = waiting
        if future.done():
            return
        if headers is not None and headers.startswith(NO_RESPONDERS):
            missing = f"no stream on the server takes {posted!r}"
            future.set_exception(Unavailable(missing))
            self._on_miss(missing)
            return
        try:
            answer = _decode(data)
        except msgspec.MsgspecError as error:
            future.set_exception(Unavailable(f"{posted}: the server's answer cannot be read: {error}"))
            return
        refused = answer.error
        if refused is not None:
            future.set_exception(refusal(refused.err_code, refused.description, posted, status=refused.code))
        else:
            future.set_result(Stored(self._names.stream_of(answer.stream), answer.seq, answer.duplicate))

    def _denied(self, text: str) -> None:
        for number, (_, subject, _) in list(self._waiting.items()):
            if f'publish to "{subject.lower()}"' in text:
                self._fail(number, Denied(f"this user may not publish to {subject!r}"))

    def _fail(self, number: int, error: BusError) -> None:
        future = self._waiting.pop(number)[0]
        if not future.done():
            future.set_exception(error)

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(self._timeout_s / 10)
            overdue = self._clock.monotonic() - self._timeout_s
            for number, (_, subject, sent_at) in list(self._waiting.items()):
                if sent_at > overdue:
                    break  # in the order of sending: the rest is younger
                self._fail(number, Unavailable(f"{subject}: not answered within {self._timeout_s:g} s"))
