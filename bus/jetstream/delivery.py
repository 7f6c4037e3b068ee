"""A pulled message, taken apart from its raw parts as cheaply as Python can."""

from __future__ import annotations

from matrixinfer.bus.jetstream.connection import Connection

ACK_PREFIX = b"$JS.ACK."
_ID_HEADER = b"\r\nNats-Msg-Id: "
SHORT_REPLY_TOKENS = 9


class JetStreamDelivery:
    """`$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<…>.<stored at, ns>.<…>` tells the rest; servers with a
    domain put two tokens before the stream."""

    __slots__ = ("_client", "_reply", "age_s", "data", "delivered", "message_id", "subject")

    def __init__(self, connection: Connection, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self._client = connection.client
        self._reply = reply
        self.subject = subject.decode()
        self.data = data
        start = headers.find(_ID_HEADER) + len(_ID_HEADER)
        found = start >= len(_ID_HEADER)
        self.message_id = headers[start : headers.find(b"\r\n", start)].decode() if found else ""
        tokens = reply.split(b".")
        first = 4 if len(tokens) == SHORT_REPLY_TOKENS else 6
        self.delivered = int(tokens[first])
        age_s = connection.clock.now() + connection.server_clock.ahead_s - int(tokens[first + 3]) * 1e-9
        if age_s < 0:
            connection.server_clock.contradict(-age_s)
            age_s = 0.0
        self.age_s = age_s

    async def ack(self) -> None:
        self._client.write(b"PUB %b 4\r\n+ACK\r\n" % self._reply)

    async def nak(self) -> None:
        self._client.write(nak(self._reply))

    async def in_progress(self) -> None:
        self._client.write(b"PUB %b 4\r\n+WPI\r\n" % self._reply)


def nak(reply: bytes) -> bytes:
    """The command that gives a delivery back."""
    return b"PUB %b 4\r\n-NAK\r\n" % reply
