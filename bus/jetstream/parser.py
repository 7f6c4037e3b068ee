"""The client's side of the NATS protocol, for messages; everything else is left to nats-py's own parser.

nats-py matches each line against several patterns, moves its buffer for each message and makes two coroutines for it;
with small messages that is most of what receiving costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.errors import ProtocolError
from nats.protocol.parser import Parser as NatsParser

if TYPE_CHECKING:
    from matrixinfer.bus.jetstream.client import Client

LONGEST_LINE = 65_536

Message = tuple[int, bytes, bytes, bytes, "bytes | None"]
"""Subscription, subject, reply subject, data and raw headers."""


class Parser(NatsParser):
    nc: Client

    def reset(self) -> None:
        """A new connection: what was held of a message of the old one will never be completed."""
        super().reset()
        self._held = bytearray()
        self._needed = 0
        self._foreign: Message | None = None

    async def parse(self, data: bytes = b"") -> None:
        """Hand every complete message to its listener, in order. Raises ProtocolError for what is no protocol."""
        held = self._held
        if held:
            held += data
            if len(held) < self._needed:
                return
            data = bytes(held)
            held.clear()
        start, end = 0, len(data)
        while start < end:
            line_end = data.find(b"\r\n", start)
            if line_end < 0:
                self._hold(data, start, 0)
                return
            if data.startswith((b"MSG ", b"HMSG "), start):
                stop = self._message(data, start, line_end)
                if stop > end:
                    self._hold(data, start, stop - start)
                    return
                if self._foreign is not None:
                    await self._hand_on(self._foreign)
            else:
                stop = line_end + 2
                await self._control(data[start:stop])
            start = stop

    def _message(self, data: bytes, start: int, line_end: int) -> int:
        """Where the message ends, which may be beyond `data`: then nothing was done yet."""
        words = data[start:line_end].split()
        with_headers = words[0] == b"HMSG"
        body = line_end + 2
        try:
            stop = body + int(words[-1])
            split = body + int(words[-2]) if with_headers else body
            sid = int(words[2])
        except (ValueError, IndexError) as error:
            raise ProtocolError(f"nats: malformed message line {words!r}") from error
        if stop + 2 <= len(data):
            # subject, subscription, perhaps a reply subject, then one or two sizes
            reply = words[3] if len(words) == 5 + with_headers else b""
            headers = data[body:split] if with_headers else None
            if not self.nc.hear(sid, words[1], reply, data[split:stop], headers):
                self._foreign = (sid, words[1], reply, data[split:stop], headers)
        return stop + 2

    async def _hand_on(self, message: Message) -> None:
        """What no listener of ours wanted is for nats-py."""
        self._foreign = None
        await self.nc._process_msg(*message)  # type: ignore[arg-type]  # headers may be missing

    async def _control(self, line: bytes) -> None:
        await super().parse(line)
        if self.buf:
            raise ProtocolError(f"nats: expected a command of the protocol, met {line[:80]!r}")

    def _hold(self, data: bytes, start: int, needed: int) -> None:
        if not needed and len(data) - start > LONGEST_LINE:
            raise ProtocolError("nats: a line without an end")
        self._held += data[start:]
        self._needed = needed
