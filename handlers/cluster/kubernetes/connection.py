"""Requests to one API server, as JSON and nothing else: `kubernetes.aio` brings the credentials and the transport.

Its typed calls are not used: they drop fields that they do not know when they read, and cost ten times as much.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socket
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.config.config_exception import ConfigException

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import Misconfigured, Unavailable
from matrixinfer.handlers.cluster.kubernetes.backoff import Backoff
from matrixinfer.handlers.cluster.kubernetes.errors import Refused, TooOld

logger = logging.getLogger("matrixinfer.handlers.cluster.kubernetes.connection")

REQUEST_S = 30.0
CONNECT_S = 10.0
ATTEMPTS = 5
"""Of one request that the server turned away unread because it has too much to do (429)."""
CLOSING_TURNS = 100
_BROKEN = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"
    is_watch: bool = False


class Connection:
    """`open` it; `close` it at the end. `requests` counts what was sent, by method, a watch as `WATCH`."""

    def __init__(self, api: client.ApiClient, clock: Clock) -> None:
        self._api = api
        self.clock = clock
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._is_closed = False
        self._connector = aiohttp.TCPConnector(
            limit=0, ssl=api.rest_client.ssl_context, socket_factory=self._new_socket
        )
        api.configuration.client_session_kwargs = {"connector": self._connector}
        self.requests: Counter[str] = Counter()

    @classmethod
    async def open(cls, clock: Clock, *, kubeconfig: str = "", context: str = "") -> Connection:
        """With the file that is named, or `$KUBECONFIG` or the default file, or as a Pod of the cluster. Raises
        Misconfigured; connects with the first request only."""
        configuration = client.Configuration()
        try:
            if not kubeconfig and not context and _is_in_a_cluster():
                config.load_incluster_config(client_configuration=configuration)
            else:
                _check_exists(kubeconfig or config.KUBE_CONFIG_DEFAULT_LOCATION)
                await config.load_kube_config(
                    config_file=kubeconfig or None,
                    context=context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except (ConfigException, OSError) as error:
            raise Misconfigured(
                f"no way to a Kubernetes cluster: {error}; name a kubeconfig and its context"
            ) from error
        return cls(client.ApiClient(configuration), clock)

    async def close(self) -> None:
        """Safe to call twice; what is asked afterwards is answered with Unavailable."""
        self._is_closed = True
        await self._api.close()
        await self._connector.close()
        for _ in range(CLOSING_TURNS):  # TLS says goodbye on the connections of requests that were cancelled
            if all(made.fileno() < 0 for made in self._sockets):
                return
            await asyncio.sleep(0.01)

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """The answer. Raises Refused for an error that the server means, Unavailable for no answer and for an answer
        that says as much (most of 5xx). A request that was turned away unread (429) is sent again when the server asks
        for it."""
        request = _Request(method, path, query or {}, body, content_type)
        backoff = Backoff()
        for attempt in range(ATTEMPTS):
            try:
                return await self._call_once(request)
            except Refused as refusal:
                if refusal.status >= 500 and not refusal.is_about_the_object:
                    raise Unavailable(str(refusal)) from refusal
                if refusal.status != 429:
                    raise
                if attempt == ATTEMPTS - 1:
                    raise Unavailable(f"{refusal}; {ATTEMPTS} times in a row") from refusal
                await self.clock.sleep(backoff.failed(random.random(), refusal.retry_after_s))
        raise AssertionError

    async def lines(self, path: str, query: Mapping[str, str], *, silent_s: float) -> AsyncGenerator[bytes, None]:
        """An answer line by line, as it comes, however long a line is; `aclose` it. Raises Refused, and Unavailable
        when the connection breaks or says nothing for so long."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silent_s)
        try:
            response = await self._send(_Request("GET", path, query, is_watch=True), timeout)
            try:
                if response.status >= 400:
                    raise _refusal(response, await response.read())
                async for line in _split(response.content.iter_any()):
                    yield line
            finally:
                _cut(response)
        except _BROKEN as error:
            raise Unavailable(f"the watch of {path} broke: {_told(error)}") from error

    async def _call_once(self, request: _Request) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=CONNECT_S)
        try:
            response = await self._send(request, timeout)
            async with response:
                data = await response.read()
        except _BROKEN as error:
            what = f"{request.method} {request.path}"
            raise Unavailable(f"the API server did not answer {what}: {_told(error)}") from error
        if response.status >= 400:
            raise _refusal(response, data)
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _new_socket(self, address: tuple[Any, ...]) -> socket.socket:
        made = _kept_alive_socket(address)
        self._sockets.add(made)
        return made

    async def _send(self, request: _Request, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        if self._is_closed:
            raise Unavailable("the connection to the API server was closed by this process")
        self.requests["WATCH" if request.is_watch else request.method] += 1
        serialized = await self._api.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query.items()),
            header_params={"Accept": "application/json", "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*serialized, _request_timeout=timeout, _preload_content=False)
        response: aiohttp.ClientResponse = answer.response
        return response


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """aiohttp's own lines have a limit, and objects have not."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
        for line in lines:
            if line:
                yield line


def _cut(response: aiohttp.ClientResponse) -> None:
    """Without TLS's last words, which nobody would wait for when the process ends."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _refusal(response: aiohttp.ClientResponse, data: bytes) -> Refused:
    """A server in front of the API server answers with whatever text it likes."""
    try:
        status = json.loads(data)
        reason, message = str(status.get("reason") or response.reason), str(status["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        reason, message = response.reason or "", data[:500].decode(errors="replace").strip()
    asked = response.headers.get("Retry-After", "")
    kind = TooOld if response.status == 410 else Refused
    return kind(response.status, reason, message, float(asked) if asked.isdecimal() else None)


def _kept_alive_socket(address: tuple[Any, ...]) -> socket.socket:
    """A watch may be silent for minutes: the kernel finds out within half a minute that nobody is there any more."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _check_exists(kubeconfig: str) -> None:
    """The library says of no file that it lacks a context. Several are joined as in a search path."""
    if not any(Path(file).expanduser().exists() for file in kubeconfig.split(os.pathsep)):
        raise FileNotFoundError(f"there is no file {kubeconfig}")


def _is_in_a_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
