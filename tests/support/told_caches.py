"""Real agents with simulated engines that tell what they cache, and the look into a dispatcher's index of that."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import pytest
from msgspec.structs import replace

from matrixinfer.agents.engines.simulated.engine import SimulatedEngine
from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.worker import Worker
from matrixinfer.bus.block_hashes import BLOCK_BYTES, BLOCK_TOKENS, HASH_BYTES, block_hashes
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.cache import BlocksStored, CacheChange, CacheCleared
from matrixinfer.bus.ids import new_boot_id
from matrixinfer.bus.ports import Signals, Subscription
from matrixinfer.bus.ports.signals import SignalHandler
from matrixinfer.handlers.dispatch import dispatcher
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from support.scripted import MS, NS

FITTING_BLOCKS = 24


class Engine(SimulatedEngine):
    """With `misnames`, it tells of its blocks under names that nobody else gives them."""

    misnames = False

    def take_cache_changes(self) -> list[CacheChange]:
        changes = super().take_cache_changes()
        if not self.misnames:
            return changes
        return [c if isinstance(c, CacheCleared) else replace(c, hashes=c.hashes[::-1]) for c in changes]

    def cached_blocks(self) -> list[BlocksStored]:
        blocks = super().cached_blocks()
        return [replace(each, hashes=each.hashes[::-1]) for each in blocks] if self.misnames else blocks


class LosingSignals:
    """`inner`, of which messages to `subject` are lost while the agent says so."""

    def __init__(self, inner: Signals, subject: str, agent: TellingAgent) -> None:
        self._inner = inner
        self._subject = subject
        self._agent = agent

    async def publish(self, subject: str, data: bytes) -> None:
        if not (self._agent.loses_events and subject == self._subject):
            await self._inner.publish(subject, data)

    async def subscribe(self, subject: str, handler: SignalHandler, *, group: str = "") -> Subscription:
        return await self._inner.subscribe(subject, handler, group=group)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        return await self._inner.request(subject, data, timeout_s=timeout_s)


class TellingAgent:
    """A worker with an engine that takes no time and caches FITTING_BLOCKS blocks. Each life has its own connection."""

    def __init__(self, connect: Callable[[], Awaitable[Bus]], pod: str) -> None:
        self.pod = pod
        self.loses_events = False
        self._connect = connect

    async def boot_up(self) -> None:
        self._bus = bus = await self._connect()
        config = SimulatedConfig(
            prefill_tokens_per_s=0,
            decode_step_s=0,
            decode_step_per_request_s=0,
            decode_step_per_context_token_s=0,
            kv_capacity_tokens=FITTING_BLOCKS * BLOCK_TOKENS,
        )
        self.engine = Engine(config, MS, bus.clock)
        info = await self.engine.start()
        self.boot = new_boot_id()
        identity = Identity(NS, self.pod, self.boot)
        losing = LosingSignals(bus.signals, bus.subjects.cache(NS, self.pod), self)
        worker = Worker(
            identity,
            dataclasses.replace(bus, signals=losing),
            self.engine,
            info,
            served_model=MS,
            drain_s=1.0,
            replay_bytes=1 << 20,
        )
        self._task = asyncio.create_task(worker.run(asyncio.Event()))

    async def die(self) -> None:
        """As a killed process: it says nothing more, and its name has no subscriber."""
        await self._bus.link.close()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.engine.close()

    def cached(self) -> set[bytes]:
        return set().union(*[split(each.hashes) for each in self.engine.cached_blocks()])

    def tokens_of(self, hashes: bytes) -> int:
        """How much of a prompt its cache holds from the beginning on."""
        cached, count = self.cached(), 0
        for start in range(0, len(hashes), HASH_BYTES):
            if hashes[start : start + HASH_BYTES] not in cached:
                break
            count += 1
        return count * BLOCK_TOKENS


def split(hashes: bytes) -> set[bytes]:
    return {hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)}


class Prompt:
    """A text of whole blocks, each of one letter, beginning with those of `after`."""

    def __init__(self, name: str, blocks: int = 3, after: Prompt | None = None) -> None:
        before = after.text if after is not None else ""
        self.text: str = before + name * (BLOCK_BYTES * blocks)
        self.hashes = block_hashes(self.text.encode())

    def envelope_fields(self) -> dict[str, object]:
        body = msgspec.json.encode({"model": MS, "prompt": self.text, "max_tokens": 1})
        tokens = len(self.hashes) // HASH_BYTES * BLOCK_TOKENS
        return {"body": body, "endpoint": "completions", "block_hashes": self.hashes, "prompt_tokens": tokens}


def spied_caches(monkeypatch: pytest.MonkeyPatch) -> list[ToldCaches]:
    """Fills with what the dispatchers of this process make from now on, the newest last."""
    made: list[ToldCaches] = []

    def make(capacity_blocks: int) -> ToldCaches:
        made.append(ToldCaches(capacity_blocks))
        return made[-1]

    monkeypatch.setattr(dispatcher, "ToldCaches", make)
    return made


def agrees(caches: ToldCaches, agents: Iterable[TellingAgent], prompts: Iterable[bytes]) -> bool:
    """Every pod is known, and the index says of every prompt, by its blocks, what the pods' caches hold."""
    return all(
        caches.knows(agent.pod)
        and all(caches.cached_tokens(agent.pod, hashes) == agent.tokens_of(hashes) for hashes in prompts)
        for agent in agents
    )
