"""uvicorn's HTTP protocol, with what ASGI does not offer cheaply: to be told at once, without a task for each request,
that the client is gone; to cut off a client that does not read; and bounds on a request's head and on its pace.

Nothing is timed for each request: the server looks at every connection once a second (`check_pace`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from matrixinfer.gateway.doors.forms import error_body
from matrixinfer.gateway.errors import ApiError, BadRequest, HeadTooLarge, TooSlow

SCOPE_KEY = "matrixinfer.connection"

HEAD_LIMIT_BYTES = 64 * 1024
"""A head that is still not complete after so many bytes is refused. It is counted by whole reads."""


_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


def without_upgrade(data: bytes) -> bytes:
    """A head without the offer to speak another protocol, which a server may ignore (RFC 9110, section 7.8). The parser
    would take it up, and leave the body unread."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return _UPGRADE.sub(b"", data)
    return _UPGRADE.sub(b"", data[:head_end]) + data[head_end:]


class Connection(HttpToolsProtocol):
    """Every request's scope holds its connection under SCOPE_KEY."""

    is_lost = False
    on_refused: Callable[[str], None] = staticmethod(lambda reason: None)
    """Called with the reason when the client is given up here: no door answers it. Set by the server's own subclass."""
    on_lost: Callable[[], None] | None = None
    """Called once, when the connection is gone. Set by the request that is being answered, which unsets it."""

    _in_body = False
    """Reading a body; else a head, or waiting for one."""
    _head_bytes = 0
    _head_begins = False
    """What is being read now may still hold the end of the message before: it is not counted."""
    _pace_since: float | None = None
    """Since when the client owes us something and sends nothing that counts; None: it just did."""

    def data_received(self, data: bytes) -> None:
        if not self._in_body and (b"pgrade" in data or b"PGRADE" in data):
            data = without_upgrade(data)
        super().data_received(data)
        if self._in_body:
            return
        if self._head_begins:
            self._head_begins = False
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self._give_up(HeadTooLarge(f"the request's head has more than {HEAD_LIMIT_BYTES} bytes"), "head_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[SCOPE_KEY] = self  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_body = True
        self._pace_since = None

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._pace_since = None

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        self._head_begins = True
        self._head_bytes = 0
        self.flow.resume_reading()  # a long body pauses it, and a client that leaves is only noticed while reading

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read is refused in the same form as everything else."""
        error = BadRequest("what was sent is not a request in HTTP/1.1", code="invalid_http")
        self._give_up(error, "invalid_http")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost()

    def abort(self) -> None:
        """Close now, without sending what is buffered."""
        self.transport.abort()

    def check_pace(self, now: float, head_timeout_s: float, body_timeout_s: float) -> None:
        """Give up on a client whose head is not complete in time, or whose body makes no progress. `now` is monotonic;
        a limit is kept to within the time between two calls."""
        if self._pace_since is None or not self._is_owed():
            self._pace_since = now
        elif self._in_body and now - self._pace_since >= body_timeout_s:
            self._give_up(TooSlow(f"nothing of the request's body came for {body_timeout_s:g} s"), "body_timeout")
        elif not self._in_body and now - self._pace_since >= head_timeout_s:
            self._give_up(TooSlow(f"the request's head was not complete within {head_timeout_s:g} s"), "head_timeout")

    def _is_owed(self) -> bool:
        """The client has to send. Not while it waits for an answer or we do not read; an idle connection has uvicorn's
        keep-alive timer."""
        if self._in_body:
            return not self.flow.read_paused
        return not self._is_answering() and self.timeout_keep_alive_task is None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _give_up(self, error: ApiError, reason: str) -> None:
        """Say why and close; without a word where an answer is being written: it would land in its middle."""
        if not self.transport.is_closing():
            self.on_refused(reason)
        unanswered = (
            not self.cycle.response_started and not self.pipeline if self._in_body else not self._is_answering()
        )
        if not unanswered:
            self.abort()
            return
        failure = error.failure()
        body = error_body(failure)
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[failure.status] + head + body)
        self.transport.close()
