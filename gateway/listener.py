"""The HTTP server's two edges: the socket it listens on, and uvicorn without its habits."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from matrixinfer.bus.clock import Clock
from matrixinfer.gateway.doors.connection import Connection
from matrixinfer.gateway.errors import PortTaken, StartError
from matrixinfer.gateway.settings import GatewaySettings

TICKS_A_SECOND = 10

LAST_RESORT_S = 5.0
"""After the drain everything was ended; what has not left by then is cut off."""


def listen(settings: GatewaySettings) -> socket.socket:
    """The listening socket of the door, shared when the settings say so. Raises PortTaken, StartError."""
    return _listen(settings, settings.port, "MATRIXINFER_GATEWAY_PORT", shared=settings.reuse_port)


def listen_alone(settings: GatewaySettings, port: int) -> socket.socket:
    """The listening socket of this worker's own address, never shared. Raises PortTaken, StartError."""
    return _listen(settings, port, "MATRIXINFER_GATEWAY_METRICS_PORT", shared=False)


def _listen(settings: GatewaySettings, port: int, setting: str, *, shared: bool) -> socket.socket:
    """Without SO_REUSEPORT it is listened on at once, because only that shows that the port is taken."""
    where = f"{settings.host}:{port}"
    sock = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((settings.host, port))
        sock.listen(settings.backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            advice = f"stop it, or choose another port ({setting})"
            raise PortTaken(f"another process already listens on {where}: {advice}") from error
        raise StartError(f"the gateway cannot listen on {where}: {error}") from error
    return sock


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Leaves the process's signals alone: who starts the gateway stops it. Gives up on clients that send too slowly."""

    def __init__(self, config: uvicorn.Config, clock: Clock, head_timeout_s: float, body_timeout_s: float) -> None:
        super().__init__(config)
        self._clock = clock
        self._timeouts_s = head_timeout_s, body_timeout_s

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's own tick, ten times a second."""
        if counter % TICKS_A_SECOND == 0:
            now = self._clock.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.check_pace(now, *self._timeouts_s)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(
    app: ASGIApp,
    settings: GatewaySettings,
    clock: Clock,
    count_refused: Callable[[str], None] = Connection.on_refused,
) -> Server:
    """`count_refused` is called with the reason for each client that is given up before `app` can answer it."""

    class OwnConnection(Connection):
        on_refused = staticmethod(count_refused)

    config = uvicorn.Config(
        app,
        http=OwnConnection,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=settings.backlog,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=math.ceil(settings.drain_s + LAST_RESORT_S),
    )
    return Server(config, clock, settings.head_timeout_s, settings.body_timeout_s)
