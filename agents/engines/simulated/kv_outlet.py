"""Where other engines fetch prompts that this one computed: a small TCP server, the twin of a bootstrap server.

    the other engine                      this one
    {"name": …, "engine_id": …}\\n  ──>    waits until that prompt is computed
                               <──  {"tokens": …}\\n, and later, at the transfer's speed, {"tokens": …}\\n again
The connection ends without that where the prompt will never come.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from matrixinfer.agents.engines.simulated.batching import Request
from matrixinfer.agents.engines.simulated.kv_fields import Fetch
from matrixinfer.bus.background import end, spawn
from matrixinfer.bus.clock import Clock

REMEMBER_OVER_COUNT = 4096
"""So many prompts that are over are told from those that are still to come."""


class LostPrefill(Exception):
    """The other engine is not there, or does not have that prompt (any more)."""


class _Question(msgspec.Struct):
    name: str
    engine_id: str = ""


class _Tokens(msgspec.Struct):
    tokens: int


class _Promise:
    """Of one prompt; `computed` is done with None when it will never come."""

    def __init__(self) -> None:
        self.computed: asyncio.Future[Request | None] = asyncio.get_running_loop().create_future()
        self.is_known = False
        self.expiry: asyncio.Task[None] | None = None


class KvOutlet:
    """`let_go` is called with each request that was fetched, or that nobody fetched within `hold_s`."""

    def __init__(
        self, clock: Clock, tokens_per_s: float, *, hold_s: float, wait_s: float, let_go: Callable[[Request], None]
    ) -> None:
        self.engine_id = secrets.token_hex(8)
        self.address = ("", 0)
        self._clock = clock
        self._tokens_per_s = tokens_per_s
        self._hold_s = hold_s
        self._wait_s = wait_s
        self._let_go = let_go
        self._promises: dict[str, _Promise] = {}
        self._over: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str) -> None:
        """Listen on a free port of `host`."""
        self._server = await asyncio.start_server(self._on_connection, host, 0)
        self.address = (host, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await end(list(self._tasks))

    def promise(self, name: str) -> None:
        """It is being computed."""
        self._over.pop(name, None)
        self._promise(name).is_known = True

    def computed(self, name: str, request: Request) -> None:
        """It can be fetched, for a while."""
        promise = self._promises.get(name)
        if promise is None or promise.computed.done():
            self._let_go(request)
            return
        promise.computed.set_result(request)
        promise.expiry = self._spawn(self._expire(name, promise, request), "simulated-kv-hold")

    def withdraw(self, name: str) -> None:
        """It will never be computed."""
        promise = self._promises.pop(name, None)
        self._end_for_good(name)
        if promise is not None and not promise.computed.done():
            promise.computed.set_result(None)

    def forget_all(self) -> None:
        """Nothing of it exists any more: no request is let go."""
        for name in list(self._promises):
            self.withdraw(name)

    def _promise(self, name: str) -> _Promise:
        promise = self._promises.get(name)
        if promise is None:
            promise = self._promises[name] = _Promise()
        return promise

    async def _expire(self, name: str, promise: _Promise, request: Request) -> None:
        await self._clock.sleep(self._hold_s)
        self._end(name, promise, request)

    def _end(self, name: str, promise: _Promise, request: Request) -> None:
        if self._promises.get(name) is promise:
            del self._promises[name]
            self._end_for_good(name)
            self._let_go(request)

    def _end_for_good(self, name: str) -> None:
        self._over[name] = None
        if len(self._over) > REMEMBER_OVER_COUNT:
            self._over.popitem(last=False)

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._spawn(self._serve(reader, writer), "simulated-kv-transfer")
        task.add_done_callback(lambda _: writer.close())

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = spawn(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = msgspec.json.decode(await reader.readline(), type=_Question)
        except (OSError, ValueError):  # not one of ours
            return
        if question.engine_id not in ("", self.engine_id) or question.name in self._over:
            return
        hung_up: asyncio.Future[Any] = asyncio.ensure_future(reader.read())
        try:
            await self._answer(question.name, writer, hung_up)
        finally:
            hung_up.cancel()
            await asyncio.gather(hung_up, return_exceptions=True)

    async def _answer(self, name: str, writer: asyncio.StreamWriter, hung_up: asyncio.Future[Any]) -> None:
        promise = self._promise(name)
        if not promise.is_known:
            self._spawn(self._wait_for(name, promise), "simulated-kv-wait")
        either: list[asyncio.Future[Any]] = [promise.computed, hung_up]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        request = promise.computed.result() if promise.computed.done() else None
        if request is None or hung_up.done():
            return
        line = msgspec.json.encode(_Tokens(request.prompt_tokens)) + b"\n"
        writer.write(line)
        if self._tokens_per_s:
            await self._pause(request.prompt_tokens / self._tokens_per_s, hung_up)
        if not hung_up.done():
            writer.write(line)
            self._end(name, promise, request)
            if promise.expiry is not None:
                promise.expiry.cancel()

    async def _wait_for(self, name: str, promise: _Promise) -> None:
        await self._clock.sleep(self._wait_s)
        if not promise.is_known and self._promises.get(name) is promise:
            del self._promises[name]
            promise.computed.set_result(None)

    async def _pause(self, pause_s: float, hung_up: asyncio.Future[Any]) -> None:
        timer: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(pause_s))
        try:
            await asyncio.wait([timer, hung_up], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()


async def fetch(source: Fetch) -> int:
    """How many tokens of prompt came, when all of them are here. Raises LostPrefill."""
    try:
        reader, writer = await asyncio.open_connection(source.host, source.port)
    except OSError as error:
        raise LostPrefill(_lost(source)) from error
    try:
        writer.write(msgspec.json.encode(_Question(source.name, source.engine_id)) + b"\n")
        await reader.readline()
        return msgspec.json.decode(await reader.readline(), type=_Tokens).tokens
    except (OSError, ValueError) as error:
        raise LostPrefill(_lost(source)) from error
    finally:
        writer.close()


def _lost(source: Fetch) -> str:
    return f"lost connection with prefill instance {source.host}:{source.port}, or it does not have {source.name}"
