"""Answers the API server until the process is told to stop: a certificate first, then the door, then a quiet leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable

from matrixinfer.bus.background import end
from matrixinfer.bus.clock import Clock
from matrixinfer.handlers.admission.cert_files import follow_files
from matrixinfer.handlers.admission.own_certificate import OwnCertificate
from matrixinfer.handlers.admission.server import AdmissionApp, https_server, listen
from matrixinfer.handlers.admission.settings import AdmissionSettings
from matrixinfer.handlers.admission.tls import Tls
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.errors import HandlerError

logger = logging.getLogger("matrixinfer.handlers.admission.main")


async def run(
    settings: AdmissionSettings,
    clock: Clock,
    stop: asyncio.Event,
    *,
    kubeconfig: str = "",
    context: str = "",
    on_listening: Callable[[int], None] = lambda _: None,
) -> None:
    """Until `stop` is set and what was asked is answered. `on_listening` is told the port when there is a certificate
    to serve. Raises Misconfigured, and what ends the following of the certificate."""
    tls = Tls()
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        async with _following(settings, tls, clock, kubeconfig, context) as following:
            stopped = asyncio.create_task(stop.wait())
            ready = asyncio.create_task(tls.is_ready.wait())
            try:
                await asyncio.wait([following, stopped, ready], return_when=asyncio.FIRST_COMPLETED)
                if ready.done():
                    on_listening(listener.getsockname()[1])
                    await _serve(settings, tls, listener, clock, [following, stopped])
                if following.done():
                    following.result()
                    raise HandlerError("the certificate is followed no more; expected that until the end")
            finally:
                await end([stopped, ready])


@contextlib.asynccontextmanager
async def _following(
    settings: AdmissionSettings, tls: Tls, clock: Clock, kubeconfig: str, context: str
) -> AsyncIterator[asyncio.Task[None]]:
    """The certificate, followed as long as this is open; the API server is asked only for one of our own."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.cert_dir is not None:
            work = follow_files(settings.cert_dir, tls, clock)
        else:
            connection = await Connection.open(clock, kubeconfig=kubeconfig, context=context)
            stack.push_async_callback(connection.close)
            work = OwnCertificate(connection, settings, tls, clock).follow()
        task = asyncio.create_task(work, name="certificate")
        try:
            yield task
        finally:
            await end([task])


async def _serve(
    settings: AdmissionSettings, tls: Tls, listener: socket.socket, clock: Clock, until: list[asyncio.Task[object]]
) -> None:
    """Until one of them is done, and a while after."""
    app = AdmissionApp()
    server = https_server(app, tls.context)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="admission server")
    logger.info("the API server is answered on %s:%d", *listener.getsockname()[:2])
    try:
        await asyncio.wait([serving, *until], return_when=asyncio.FIRST_COMPLETED)
        app.is_leaving = True
        if not serving.done():
            await clock.sleep(settings.linger_s)
        server.should_exit = True
        await serving
    finally:
        await end([serving])
