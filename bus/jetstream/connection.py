"""One connection and what happens when it breaks: all that the adapters share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from nats import errors as nats_errors

from matrixinfer.bus.background import apart, spawn
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import BusError, Incompatible, Unavailable
from matrixinfer.bus.jetstream.answers import Answers
from matrixinfer.bus.jetstream.api import Api
from matrixinfer.bus.jetstream.client import Client
from matrixinfer.bus.jetstream.declare import declare
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.jetstream.posts import Posts
from matrixinfer.bus.jetstream.repair import Repair
from matrixinfer.bus.jetstream.server_clock import ServerClock
from matrixinfer.bus.settings import BusSettings

logger = logging.getLogger("matrixinfer.bus.jetstream.connection")

Restorer = Callable[[], Awaitable[None]]

RECONNECT_WAIT_S = 0.25
PING_INTERVAL_S = 5
PINGS_OUTSTANDING = 2
_RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0)


def inbox_prefix(url: str) -> str:
    """Each user has inboxes of its own: nobody may listen to another's answers."""
    user = urlsplit(url.split(",", maxsplit=1)[0]).username
    return f"_INBOX.{user}" if user else "_INBOX"


def without_password(url: str) -> str:
    return ",".join(part.rsplit("@", 1)[-1] for part in url.split(","))


class Connection:
    """Keeps the Link port. `open` before anything else."""

    def __init__(self, settings: BusSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.names = Names(settings.prefix)
        self.on_reconnect: list[Restorer] = []
        """The adapters' own: called when the topology is there again (after a reconnect, or when something of it
        was missed and made again), before the handlers of `on_restored`."""
        self.on_close: list[Callable[[], Awaitable[None]]] = []
        self._restored: list[Restorer] = []
        self._restoring: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._up_since: float | None = None
        self._closed = False

    async def open(self) -> None:
        """Raises Unavailable, naming the server, when it cannot be reached within `connect_timeout_s`, and
        Incompatible when it has no JetStream."""
        self.client = Client()
        url = self.settings.url
        try:
            async with asyncio.timeout(self.settings.connect_timeout_s):
                await self._connect(url)
        except (TimeoutError, nats_errors.Error, OSError) as error:
            await self._disconnect()
            why = str(self.client.last_error or error) or "what took the connection says nothing that NATS would"
            where = without_password(url)
            raise Unavailable(f"no NATS server answers at {where} ({why}): start one there, or name another") from error
        if not self.client.has_jetstream():
            await self._disconnect()
            raise Incompatible(f"the NATS server at {without_password(url)} has no JetStream: start it with `-js`")
        self._up_since = self.clock.monotonic()
        self.answers = Answers(self.client)
        self.repair = Repair(self.clock, self._repair)
        self.api = Api(self.answers, self.settings.request_timeout_s, self.repair.miss)
        self.server_clock = ServerClock(self.api, self.names, self.clock)
        self.posts = Posts(
            self.client, self.clock, self.names, self.settings.request_timeout_s, on_miss=self.repair.miss
        )

    async def prepare(self) -> list[str]:
        """Make the server agree with the topology; a server that just started may not be ready yet. Returns the
        differences that are left."""
        deadline = self.clock.monotonic() + self.settings.connect_timeout_s
        attempt = 0
        while True:
            try:
                left = await declare(self.api, self.names, self.settings.replicas)
                await self.server_clock.measure()
                break
            except Unavailable:
                if self.clock.monotonic() > deadline or self._closed:
                    raise
            await self.clock.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1
        self.repair.arm()
        if self._following is None:
            self._following = spawn(self.server_clock.follow(), "follow the server's clock")
        return left

    def is_up(self) -> bool:
        return self._up_since is not None and bool(self.client.is_connected)

    def up_since(self) -> float | None:
        return self._up_since if self.is_up() else None

    def on_restored(self, handler: Restorer) -> None:
        self._restored.append(handler)

    def require_up(self) -> None:
        """For what needs an answer now: raises Unavailable while the connection is broken."""
        if not self.is_up():
            raise Unavailable(f"the connection to the NATS server at {without_password(self.settings.url)} is down")

    async def flush(self) -> None:
        """Wait until the server has taken what was sent. Raises Unavailable."""
        self.require_up()
        try:
            await self.client.relieve()  # nats-py's own flush overtakes what waits in the buffer
            flushing = self.client.flush(timeout=self.settings.request_timeout_s)  # type: ignore[arg-type]  # any number does
            await apart(flushing, "flush to NATS")
        except (nats_errors.Error, TimeoutError) as error:
            raise Unavailable(f"the NATS server does not answer: {error}") from error

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for leave in list(self.on_close):
            await leave()
        if self.client.is_connected:
            try:
                await self.flush()
            except Unavailable as error:
                logger.warning("closing without having sent everything: %s", error)
        self.repair.stop()
        for task in (self._restoring, self._following):
            if task is not None:
                task.cancel()
        self.posts.close()
        await self._disconnect()

    async def _connect(self, url: str) -> None:
        connecting = self.client.connect(
            servers=url.split(","),
            name=self.settings.name,
            inbox_prefix=inbox_prefix(url),
            pending_size=self.settings.pending_bytes,
            connect_timeout=2,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # any number does
            max_reconnect_attempts=-1,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=PINGS_OUTSTANDING,
            skip_subject_validation=True,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
        )
        await apart(connecting, "connect to NATS")

    async def _disconnect(self) -> None:
        try:
            await apart(self.client.close(), "close the connection to NATS")
        except OSError as error:  # nats-py still tries to send what waits over a broken connection
            logger.debug("closing a broken connection: %s", error)

    async def _on_error(self, error: Exception) -> None:
        logger.log(logging.DEBUG if not self.is_up() else logging.WARNING, "connection to NATS: %r", error)

    async def _on_disconnected(self) -> None:
        if self._up_since is None:
            return
        self._up_since = None
        self.answers.fail_all("the connection broke")
        self.posts.fail_all("the connection broke")
        if not self._closed:
            logger.warning("the connection to the NATS server is broken; trying again")

    async def _on_closed(self) -> None:
        if not self._closed:
            logger.critical("nats-py closed the connection for good: %s", self.client.last_error)

    async def _on_reconnected(self) -> None:
        """Called inside nats-py's reconnecting, which must not wait for our questions: a task does the rest."""
        self._up_since = self.clock.monotonic()
        if self._restoring is not None:
            self._restoring.cancel()
        self._restoring = spawn(self._restore(), "restore the bus after a reconnect")

    async def _restore(self) -> None:
        logger.info("connected to the NATS server again")
        while True:
            try:
                await self.prepare()
                break
            except BusError as error:
                logger.warning("connected, but the topology is not there yet: %s", error)
                await self.clock.sleep(_RETRY_S[-1])
        await self._tell_restored()

    async def _repair(self) -> None:
        """Something of the topology was missed. It is told also when another process was sooner and nothing was left
        to make: what hung on the lost stream here has to begin anew."""
        if not self.is_up() or (self._restoring is not None and not self._restoring.done()):
            return  # the reconnect does the same
        await declare(self.api, self.names, self.settings.replicas)
        await self._tell_restored()

    async def _tell_restored(self) -> None:
        for restore in [*self.on_reconnect, *self._restored]:
            try:
                await restore()
            except Exception:
                logger.exception("%r failed after the topology was restored", restore)
