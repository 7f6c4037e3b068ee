"""Who measures a prompt: the pool's tokenizer where it has one, on the loop or in a thread, else its bytes."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.gateway.metrics import Metrics
from matrixinfer.gateway.pipeline.body import Asked
from matrixinfer.gateway.pipeline.prompt import Prompt, measure, of_tokens
from matrixinfer.gateway.pipeline.routing import Choice
from matrixinfer.gateway.settings import GatewaySettings
from matrixinfer.gateway.tokenizing.encoder import Encoder
from matrixinfer.gateway.tokenizing.encoders import Encoders, PoolName, label_of
from matrixinfer.gateway.tokenizing.errors import NotTokenized

log = logging.getLogger("matrixinfer.gateway.tokenizing")


class Measuring:
    """Never fails: what cannot be tokenized, or not soon, is measured by its bytes, and counted.

    Two requests of one client may change their order here, as they may on the way to the gateway.
    """

    def __init__(self, settings: GatewaySettings, encoders: Encoders, metrics: Metrics) -> None:
        self.waiting = 0
        """Requests at the threads, in work or not."""
        self._encoders = encoders
        self._prompts = metrics.prompts
        self._inline_bytes = settings.tokenize_inline_bytes
        self._most_waiting_bytes = settings.tokenize_waiting_bytes
        self._waiting_bytes = 0
        self._threads = ThreadPoolExecutor(settings.tokenize_threads, "tokenizing")

    async def measure(self, asked: Asked, endpoint: Endpoint, choice: Choice, size_bytes: int) -> Prompt:
        """`size_bytes` are those of the body: about how long it takes."""
        pool = choice.namespace, choice.modelserver
        entry = self._encoders.of(pool)
        if entry is None:
            return measure(asked, choice.adapter)
        if entry.encoder is None:
            return self._by_bytes(asked, choice.adapter, pool, "not_loaded")
        try:
            if size_bytes <= self._inline_bytes:
                prompt = _on_the_loop(entry.encoder, asked, endpoint, choice.adapter)
            elif self.waiting and self._waiting_bytes + size_bytes > self._most_waiting_bytes:
                return self._by_bytes(asked, choice.adapter, pool, "busy")
            else:
                prompt = await self._in_a_thread(entry.encoder, asked, endpoint, choice.adapter, size_bytes)
        except NotTokenized as error:
            log.debug("a prompt for %s cannot be tokenized: %s", label_of(pool), error)
            return self._by_bytes(asked, choice.adapter, pool, error.reason)
        self._prompts.labels(label_of(pool), "tokens").inc()
        return prompt

    def close(self) -> None:
        """Nobody waits any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_a_thread(
        self, encoder: Encoder, asked: Asked, endpoint: Endpoint, adapter: str, size_bytes: int
    ) -> Prompt:
        self.waiting += 1
        self._waiting_bytes += size_bytes
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, _apart, encoder, asked, endpoint, adapter)
        finally:
            self.waiting -= 1
            self._waiting_bytes -= size_bytes

    def _by_bytes(self, asked: Asked, adapter: str, pool: PoolName, why: str) -> Prompt:
        self._prompts.labels(label_of(pool), why).inc()
        return measure(asked, adapter)


def _on_the_loop(encoder: Encoder, asked: Asked, endpoint: Endpoint, adapter: str) -> Prompt:
    return of_tokens(encoder.token_ids(asked, endpoint), adapter)


def _apart(encoder: Encoder, asked: Asked, endpoint: Endpoint, adapter: str) -> Prompt:
    return of_tokens(encoder.token_ids(asked, endpoint, apart=True), adapter)
