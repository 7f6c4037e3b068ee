"""uvicorn's HTTP protocol, with the two things that ASGI does not offer cheaply: to be told at once, without a task
for each request, that the client is gone, and to cut off a client that does not read."""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SCOPE_KEY = "matrixinfer.connection"


class Connection(HttpToolsProtocol):
    """Every request's scope holds its connection under SCOPE_KEY."""

    is_lost = False
    on_lost: Callable[[], None] | None = None
    """Called once, when the connection is gone. Set by the request that is being answered, which unsets it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[SCOPE_KEY] = self  # type: ignore[literal-required]

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.flow.resume_reading()  # a long body pauses it, and a client that leaves is only noticed while reading

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost()

    def abort(self) -> None:
        """Close now, without sending what is buffered."""
        self.transport.abort()
