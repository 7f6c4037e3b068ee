"""Request and reply over one inbox: a counter names each question, a dictionary finds who asked."""

from __future__ import annotations

import asyncio

from matrixinfer.bus.errors import Denied, NobodyThere, TimedOut, Unavailable
from matrixinfer.bus.jetstream.client import Client

NO_RESPONDERS = b"NATS/1.0 503"

Answer = tuple[bytes, "bytes | None"]
"""Data and raw headers."""


class Answers:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox() + "."
        self._skip = len(self._inbox)
        self._count = 0
        self._waiting: dict[int, tuple[asyncio.Future[Answer], str]] = {}
        client.listen(self._inbox + "*", self._answered)
        client.on_denied.append(self._denied)

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The first answer. Raises NobodyThere, TimedOut, Denied, TooLarge, and Unavailable while disconnected."""
        return (await self.ask_whole(subject, data, timeout_s=timeout_s))[0]

    async def ask_whole(self, subject: str, data: bytes, *, timeout_s: float) -> Answer:
        """As `ask`, with the answer's headers: for those parts of the server that answer by a status line."""
        client = self._client
        client.check_size(subject, len(data))
        if not client.is_connected:
            raise Unavailable(f"{subject}: the connection to the NATS server is down")
        self._count = number = self._count + 1
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (future, subject)
        try:
            client.write(f"PUB {subject} {self._inbox}{number} {len(data)}\r\n".encode(), data, b"\r\n")
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            if not client.is_connected:
                raise Unavailable(f"{subject}: the connection broke while waiting for the answer") from error
            raise TimedOut(f"{subject}: no answer within {timeout_s:g} s") from error
        finally:
            del self._waiting[number]

    def fail_all(self, reason: str) -> None:
        """The connection broke: the answers were sent to nobody."""
        for future, subject in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable(f"{subject}: {reason}"))

    def _answered(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        waiting = self._waiting.get(int(subject[self._skip :]))
        if waiting is None or waiting[0].done():
            return
        future, asked = waiting
        if headers is not None and headers.startswith(NO_RESPONDERS):
            future.set_exception(NobodyThere(f"nobody answers on {asked!r}"))
        else:
            future.set_result((data, headers))

    def _denied(self, text: str) -> None:
        for future, subject in self._waiting.values():
            if f'publish to "{subject.lower()}"' in text and not future.done():
                future.set_exception(Denied(f"this user may not publish to {subject!r}"))
