"""nats-py's client with a short way in and a short way out, and one that never gives up.

On the hot path nats-py spends most of its time on a queue, a task, a Msg and a dictionary of headers for each message.
`listen` hands the raw parts to a callback while they are parsed; `write` appends to what the flusher sends. The
overridden methods are private to nats-py: the dependency is bound to its major version, and the tests cover each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import nats.aio.client
from nats import errors as nats_errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription as NatsSubscription

from matrixinfer.bus.background import apart
from matrixinfer.bus.errors import TooLarge, Unavailable
from matrixinfer.bus.jetstream.parser import Parser

logger = logging.getLogger("matrixinfer.bus.jetstream.client")

READ_BYTES = 256 * 1024
"""How much is read from the server at once. nats-py's 32 KiB hold two frames of a busy agent; what is read together is
relayed together, so under load more means fewer and larger writes to the clients."""

nats.aio.client.DEFAULT_BUFFER_SIZE = READ_BYTES

Listener = Callable[[bytes, bytes, bytes, "bytes | None"], None]
"""Called with subject, reply subject, data and the raw headers; must neither raise nor wait."""


class Client(NatsClient):
    def __init__(self) -> None:
        super().__init__()
        self._ps = Parser(self)
        self._listeners: dict[int, Listener] = {}
        self._kick: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kick.set_result(None)
        self.on_denied: list[Callable[[str], None]] = []
        """Called with the server's text, in lower case, when a permission was missing."""

    def write(self, *parts: bytes) -> None:
        """Buffer a command; what is buffered in one loop turn leaves in one write. Raises Unavailable when closed or
        when the connection is down and the buffer full."""
        size, is_connected = sum(map(len, parts)), self.is_connected
        if not is_connected:
            self._check_buffer(size)
        self._pending.extend(parts)
        self._pending_data_size += size
        queue = self._flush_queue
        if is_connected and queue is not None and queue.empty():
            queue.put_nowait(self._kick)

    def has_jetstream(self) -> bool:
        """As the server said when it greeted."""
        return bool(self._server_info.get("jetstream", False))

    def is_congested(self) -> bool:
        """More waits for the socket than should: `await relieve()` before writing more."""
        return bool(self._pending_data_size > self._max_pending_size and self.is_connected)

    async def relieve(self) -> None:
        """Wait until the socket has taken what is buffered. nats-py's flush swallows a cancellation: it runs apart."""
        await apart(self._flush_pending(force_flush=True), "flush to the socket")

    def check_size(self, subject: str, size: int) -> None:
        if size > self._max_payload:
            raise TooLarge(f"{size} bytes for {subject}: the server takes {self._max_payload} in one message")

    def listen(self, subject: str, listener: Listener, *, queue: str = "") -> int:
        """Subscribe; made again by itself after a reconnect. Returns what `unlisten` wants."""
        self._sid += 1
        sid: int = self._sid
        self._subs[sid] = NatsSubscription(self, sid, subject, queue=queue)
        self._listeners[sid] = listener
        if self.is_connected:  # else the reconnect sends it
            self.write(f"SUB {subject} {queue} {sid}\r\n".encode())
        return sid

    def mute(self, sid: int) -> None:
        """Tell the server to send no more; what is on its way still reaches the listener."""
        if self._subs.pop(sid, None) is not None and self.is_connected:
            self.write(f"UNSUB {sid}\r\n".encode())

    def unlisten(self, sid: int) -> None:
        if not self.is_closed:
            self.mute(sid)
        self._listeners.pop(sid, None)

    async def close(self) -> None:
        """Also of a client whose addresses could not be read, which nats-py cannot close."""
        if self._flush_queue is not None:
            await super().close()

    def _check_buffer(self, size: int) -> None:
        if self.is_closed:
            raise Unavailable("the connection to the NATS server is closed")
        if self._pending_data_size + size > self._max_pending_size:
            raise Unavailable(
                f"the connection to the NATS server is down and {self._pending_data_size} bytes already wait for it"
            )

    def hear(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        """For the parser: hand a message to its listener; False when there is none."""
        listener = self._listeners.get(sid)
        if listener is None:
            return False
        try:
            listener(subject, reply, data, headers)
        except Exception:  # one bad message must not end the reader of all
            logger.exception("the listener on %r failed", subject)
        return True

    async def _process_pong(self) -> None:
        """A flush that was given up is still in the row: to tell it would end nats-py's reader of everything."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        """nats-py closes for good on most errors that a server can send; here they end in a reconnect."""
        text = err_msg.strip("'")
        if "permissions violation" in text:
            logger.warning("the NATS server refused: %s", text)
            for listener in list(self.on_denied):
                listener(text)
            return
        logger.warning("the NATS server reported an error: %s", text)
        await self._process_op_err(nats_errors.Error(f"nats: {text}"))
