"""Of each session only the oldest waiting request may go: the others wait behind it."""

from __future__ import annotations

from matrixinfer.handlers.dispatch.fair.line import Line
from matrixinfer.handlers.dispatch.request import Request


class Sessions:
    """The waiting requests that name a session; one that does not leads itself, and is not told here."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}

    def join(self, request: Request) -> tuple[Request | None, Request]:
        """(who led its session before, who leads it now)."""
        line = self._lines.setdefault((request.tenant, request.session), Line())
        before = line.first()
        line.add(request)
        return before, before if before is not None and before.order < request.order else request

    def leave(self, request: Request) -> Request | None:
        """Who leads its session now in its stead; None when nobody does, or when it did not lead."""
        key = (request.tenant, request.session)
        line = self._lines[key]
        led = line.first() is request
        line.discard(request)
        if not line:
            del self._lines[key]
        return line.first() if led else None
