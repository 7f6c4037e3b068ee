"""Pods, prefixes and schedulers as tests of scheduling need them: told what to be, on no bus and at no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from matrixinfer.bus.contracts.load import Snapshot, WorkKey
from matrixinfer.bus.contracts.profile import Profile, WeightedPlugin
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Knowledge
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN
from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler, Surroundings
from matrixinfer.handlers.dispatch.scheduling.witness import Witness
from support.scripted import MS, NS

NOW = 1000.0
BLOCK_BYTES, BLOCK_TOKENS = 8, 256

LEAST_REQUESTS = Profile(name="least-requests", scorers=[WeightedPlugin("least_requests")])


class NoMessage:
    subject = message_id = ""
    data = b""

    async def ack(self) -> None:
        raise AssertionError("a scheduler acknowledges nothing")


class Rate:
    """A model of prefill that never learns."""

    def __init__(self, fixed_s: float = 0.0, tokens_per_s: float = 10_000.0) -> None:
        self.fixed_s, self.tokens_per_s = fixed_s, tokens_per_s

    def seconds(self, tokens: float, now: float) -> float:
        return self.fixed_s + tokens / self.tokens_per_s

    def line(self, now: float) -> tuple[float, float]:
        return self.fixed_s, 1.0 / self.tokens_per_s


def a_request(prompt_tokens: int = 8192, **fields: Any) -> Request:
    """Any: whatever fields a Request has."""
    given = {"key": ("r", 1), "tenant": "t", "output_tokens": 256, **fields}
    return Request(
        prompt_tokens=prompt_tokens,
        gateway="g",
        size_bytes=10,
        order=1,
        since=NOW,
        deadline=NOW + 60,
        held=NoMessage(),
        reign=1,
        **given,
    )


def a_pod(
    name: str,
    *,
    used: int = 0,
    slots: int = 8,
    prefill_tokens: int = 0,
    kv_tokens: int = 0,
    role: str = "server",
    topology: tuple[str, ...] = (),
    **state: Any,
) -> Pod:
    """Ready, with `used` slots. Any: whatever else its snapshot tells, or a Pod knows of itself."""
    pod = Pod(name, Rate())
    pod.describe(PoolPod(NS, MS, name, role=role, topology=list(topology)))
    pod.introduced = True
    told = {field: state.pop(field) for field in [*state] if field in Snapshot.__struct_fields__}
    pod.told = Snapshot(slots, **told)
    pod.adapters = frozenset(pod.told.adapters)
    pod.reported = {WorkKey(f"{name}-{index}", 1, 1) for index in range(used)}
    pod.measure()
    if prefill_tokens or kv_tokens:
        pod.footprints.add(WorkKey(f"{name}-ahead", 1, 1), prefill_tokens, kv_tokens, NOW)
    for field, value in state.items():
        setattr(pod, field, value)
    return pod


def an_ask(pods: list[Pod], request: Request | None = None, *, now: float = NOW, **tokens: Any) -> Ask:
    """Any: `exact_tokens`, `approximate_tokens` and `cached_tokens` of the pods; without them nothing is cached."""
    nothing = [0] * len(pods)
    known = {"exact_tokens": nothing, "approximate_tokens": nothing, "cached_tokens": nothing, **tokens}
    return Ask(request=request or a_request(), pods=pods, now=now, everyone=pods, **known)


class SentPrefixes:
    """Approximate: what was sent to a pod is in its cache, as long as nobody says otherwise."""

    def __init__(self) -> None:
        self._sent: dict[bytes, set[str]] = {}

    def matches(self, block_hashes: bytes) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for end in range(BLOCK_BYTES, len(block_hashes) + 1, BLOCK_BYTES):
            for pod in self._sent.get(block_hashes[end - BLOCK_BYTES : end], ()):
                found[pod] = end // BLOCK_BYTES * BLOCK_TOKENS
        return found

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        hashes = request.block_hashes
        for start in range(0, len(hashes), BLOCK_BYTES):
            self._sent.setdefault(hashes[start : start + BLOCK_BYTES], set()).add(pod.name)


class ToldPrefixes:
    """Exact: the pods in `told` tell what they hold."""

    def __init__(self, **told: int) -> None:
        self.told = told

    def matches(self, block_hashes: bytes) -> Mapping[str, float]:
        return {name: tokens for name, tokens in self.told.items() if tokens}

    def knows(self, pod: str) -> bool:
        return pod in self.told

    knows_bytes = knows


def surroundings(
    *,
    knowledge: Knowledge | None = None,
    limit: int = 32,
    report: Callable[[str], None] | None = None,
    clock: Callable[[], float] | None = None,
    witness: Witness | None = None,
) -> Surroundings:
    """Without a report, a plug-in that breaks its promise fails the test."""
    return Surroundings(clock or (lambda: 0.0), report or _unexpected, knowledge or Knowledge(), limit, witness)


def a_scheduler(profile: Profile = LEAST_REQUESTS, **given: Any) -> ProfileScheduler:
    """Any: what `surroundings` takes."""
    return compile_profile(profile, BUILT_IN, surroundings(**given))


def _unexpected(sentence: str) -> None:
    raise AssertionError(sentence)
