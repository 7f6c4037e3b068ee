"""The ASGI application: the inference endpoints go straight to their door, everything else to the pages."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.ids import new_request_id
from matrixinfer.gateway.doors.http import HttpDoor, send_failure
from matrixinfer.gateway.errors import MethodNotAllowed

ENDPOINTS: dict[str, Endpoint] = {"/v1/chat/completions": "chat.completions", "/v1/completions": "completions"}


class App:
    """For uvicorn with `doors.connection.Connection` as its protocol, and without lifespan or websockets."""

    def __init__(self, door: HttpDoor, pages: ASGIApp) -> None:
        self._door = door
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = ENDPOINTS.get(scope["path"])
        if endpoint is None:
            await self._pages(scope, receive, send)
        elif scope["method"] == "POST":
            await self._door.answer(endpoint, scope, receive, send)
        else:
            error = MethodNotAllowed(f"{scope['path']} takes POST, not {scope['method']}")
            await send_failure(send, new_request_id(), error.failure(), (b"allow", b"POST"))
