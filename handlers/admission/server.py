"""The HTTPS server that the API server calls: two webhooks, and whether they can be called."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from matrixinfer.bus.errors import Misconfigured
from matrixinfer.handlers.admission.configurations import MUTATE, VALIDATE
from matrixinfer.handlers.admission.errors import NoReview
from matrixinfer.handlers.admission.review import mutated, validated

logger = logging.getLogger("matrixinfer.handlers.admission.server")

MOST_BYTES = 8 * 1024 * 1024
"""Of a review: the object and the one before it, each of at most 1.5 MB in etcd, as JSON."""
LAST_ANSWERS_S = 10
Answer = Callable[[object], dict[str, Any]]


class AdmissionApp:
    """`app` answers; `is_leaving` makes `/readyz` say no, and nothing else."""

    def __init__(self) -> None:
        self.is_leaving = False
        self.app = Starlette(
            routes=[
                Route(MUTATE, _webhook(mutated), methods=["POST"]),
                Route(VALIDATE, _webhook(validated), methods=["POST"]),
                Route("/readyz", self._ready),
            ]
        )

    async def _ready(self, _: Request) -> Response:
        return PlainTextResponse("leaving", 503) if self.is_leaving else PlainTextResponse("ok")


def _webhook(answer: Answer) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return PlainTextResponse(f"expected a review of at most {MOST_BYTES} bytes", 413)
        try:  # in a thread: a large object takes seconds, and this loop may dispatch requests too
            return JSONResponse(await asyncio.to_thread(_answered, answer, bytes(body)))
        except NoReview as error:
            return PlainTextResponse(str(error), 400)

    return respond


def _answered(answer: Answer, body: bytes) -> dict[str, Any]:
    try:
        review = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoReview(f"expected an AdmissionReview as JSON: {error}") from error
    return answer(review)


class Server(uvicorn.Server):
    """Leaves the process's signals alone: who starts the handlers stops them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def https_server(app: AdmissionApp, context: ssl.SSLContext) -> Server:
    config = uvicorn.Config(
        app.app,
        ssl_context_factory=lambda _, __: context,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    return Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Raises Misconfigured."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        advice = "choose another (MATRIXINFER_ADMISSION_HOST, MATRIXINFER_ADMISSION_PORT)"
        raise Misconfigured(
            f"the admission webhook cannot listen on {host}:{port}: {error.strerror}; {advice}"
        ) from error
    return listener
