"""All HTTP beside inference: the list of models, health, metrics, and errors in OpenAI's form for everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from matrixinfer.gateway.doors.forms import error_body
from matrixinfer.gateway.errors import ApiError, InternalError, MethodNotAllowed, ModelNotFound, NotFound, quoted
from matrixinfer.gateway.metrics import CONTENT_TYPE, Metrics
from matrixinfer.gateway.serving import Serving, served_models

WhyNotReady = Callable[[], str]
"""An empty string when the gateway can take requests, else the reason."""


class Pages:
    def __init__(self, serving: Serving, metrics: Metrics, why_not_ready: WhyNotReady) -> None:
        self._serving = serving
        self._metrics = metrics
        self._why_not_ready = why_not_ready

    def app(self) -> Starlette:
        """Everything, for the door."""
        models = [Route("/v1/models", self._models), Route("/v1/models/{model:path}", self._model)]
        return _app([*models, *self._of_the_worker()])

    def worker_app(self) -> Starlette:
        """What is about this worker only, for an address of its own."""
        return _app(self._of_the_worker())

    def _of_the_worker(self) -> list[Route]:
        return [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics_page),
        ]

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": served_models(self._serving.table)})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["model"]
        for model in served_models(self._serving.table):
            if model["id"] == name:
                return JSONResponse(model)
        return _error(ModelNotFound(f"the model {quoted(name)} does not exist", param="model"))

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _: Request) -> Response:
        reason = self._why_not_ready()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _metrics_page(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)


def _app(routes: Sequence[Route]) -> Starlette:
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _defect})
    app.router.redirect_slashes = False
    return app


def _error(error: ApiError, headers: dict[str, str] | None = None) -> Response:
    failure = error.failure()
    return Response(error_body(failure), failure.status, headers, media_type="application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = quoted(request.scope["path"])  # `request.url` would take what follows a leading // for a host
    if status == 404:
        return _error(NotFound(f"there is nothing at {path}"))
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return _error(MethodNotAllowed(f"{path} does not take {request.method}"), headers)


async def _defect(_: Request, __: Exception) -> Response:
    return _error(InternalError("something went wrong in the gateway; its log tells what"))
