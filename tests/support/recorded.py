"""Decisions as they are recorded and read again: made by a real scheduler, and sent through the wire's encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.decision import DecisionBatch
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.decisions import DecisionLog
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.prefill_model import Guess, PrefillModel
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Choice, Knowledge
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN
from matrixinfer.handlers.dispatch.scheduling.witness import Witness
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.scheduling import NOW, a_pod, a_request, a_scheduler
from support.scripted import MS, NS

ADAPTERS = ("sql", "law", "med")

EVERYTHING = Profile(
    name="everything",
    filters=[Plugin(name) for name in BUILT_IN.filters if name != "has_adapter"],
    scorers=[WeightedPlugin(name, weight=1.0 + index) for index, name in enumerate(BUILT_IN.scorers)],
)
"""Every scorer, each with a weight of its own."""


class TellingCaches:
    """Caches by chance. Every other pod's engine tells what it holds."""

    def __init__(self, names: Sequence[str], rng: Random) -> None:
        self._names = names
        self._rng = rng
        self._held: dict[bytes, dict[str, float]] = {}

    def matches(self, block_hashes: bytes) -> Mapping[str, float]:
        if block_hashes not in self._held:
            some = self._rng.sample(self._names, len(self._names) // 2)
            self._held[block_hashes] = {name: float(self._rng.randrange(256, 9000)) for name in some}
        return {name: tokens for name, tokens in self._held[block_hashes].items() if self.knows(name)}

    def knows(self, pod: str) -> bool:
        return self._names.index(pod) % 2 == 0

    knows_bytes = knows


def some_pods(count: int, rng: Random) -> list[Pod]:
    """No two alike, and with lines of prefill that were learned."""
    return [_some_pod(f"p{index}", rng) for index in range(count)]


def _some_pod(name: str, rng: Random) -> Pod:
    prefill = PrefillModel(Guess())
    for _ in range(3):
        prefill.observe(rng.randrange(10_000), rng.random() * 3, NOW - 5)
    pod = a_pod(
        name,
        used=rng.randrange(8),
        prefill_tokens=rng.randrange(20_000),
        kv_tokens=rng.randrange(60_000),
        topology=(f"zone-{rng.randrange(2)}", f"rack-{rng.randrange(4)}"),
        role=rng.choice(["server", "decode", "prefill"]) if name != "p0" else "server",
        prefill=prefill,
        kv_usage=rng.random(),
        kv_capacity_tokens=100_000,
        ttft_s=rng.random(),
        tpot_s=rng.random() / 20,
        measured_at=NOW - 20 * rng.random(),
        adapters=frozenset(rng.sample(ADAPTERS, rng.randrange(3))),
    )
    pod.placed = {(f"{name}-w", 1): a_request(adapter=rng.choice(["", *ADAPTERS]))}
    return pod


def some_request(number: int, rng: Random) -> Request:
    return a_request(
        8192,
        key=(f"r{number}", 1),
        block_hashes=rng.randbytes(16),
        session=rng.choice(["", "s1", "s2"]),
        adapter=rng.choice(["", *ADAPTERS]),
        near=rng.choice([(), ("zone-1", "rack-2")]),
    )


def decided(profile: Profile, pods: list[Pod], requests: Sequence[Request], rng: Random) -> DecisionBatch:
    """What is recorded when `profile` places `requests`, one after another."""
    caches = TellingCaches([pod.name for pod in pods], rng)
    sent = TellingCaches([pod.name for pod in pods], rng)
    scheduler = a_scheduler(profile, knowledge=Knowledge(caches, sent), witness=Witness())
    log = DecisionLog(MemoryBroker(ManualClock()).connect(), PoolShard(NS, MS, 0), DispatchSettings())
    for request in requests:
        if (choice := scheduler.pick(request, pods, NOW, rng)) is not None:
            log.record(placement(request, choice, profile.name))
            choice.pod.footprints.add(WorkKey(*request.key, 1), 1000, 2000, NOW)
    return decode(encode(log.take(1)), DecisionBatch)


def placement(request: Request, choice: Choice, policy: str = "test") -> Placement:
    request.cached_tokens = choice.cached_tokens
    return Placement(
        request=request,
        work=WorkKey(*request.key, 1),
        pod=choice.pod.name,
        boot="b",
        epoch=1,
        remaining_s=60.0,
        queued_s=0.25,
        candidates=choice.candidates,
        policy=policy,
        waiting=3,
        seen=choice.seen,
    )
