"""One workload through several policies, each with pods and chance of its own, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import msgspec

from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.loop import Loop
from matrixinfer.simulate.measures import Measures, Slo, measure
from matrixinfer.simulate.pods import H100_7B, SimulatedPod
from matrixinfer.simulate.policies import DEFAULT, POLICIES, Setting
from matrixinfer.simulate.workload import Workload

Progress = Callable[[str, int], None]
"""Told now and then: the policy that runs, and how many of its requests have ended."""


class Options(msgspec.Struct, frozen=True):
    """`prefill_pods` of the `pods` compute prompts for the others, which decode; 0: every pod does both.
    `patience_s`: after so long without a first token the client leaves; None: it waits for ever."""

    pods: int = 4
    seed: int = 0
    engine: SimulatedConfig = H100_7B
    slo: Slo = Slo()
    patience_s: float | None = None
    prefill_pods: int = 0

    def new_pods(self) -> list[SimulatedPod]:
        roles = ["prefill" if index < self.prefill_pods else "decode" for index in range(self.pods)]
        if not self.prefill_pods:
            roles = ["server"] * self.pods
        return [SimulatedPod(index, self.engine, role) for index, role in enumerate(roles)]


class Comparison(msgspec.Struct, frozen=True):
    """`events_per_s` is over all runs, for each second of this process's CPU: the simulator's own speed."""

    workload: str
    policies: dict[str, Measures]
    events_per_s: float


def compare(workload: Workload, names: Sequence[str], options: Options, progress: Progress) -> Comparison:
    """Raises Stuck when a policy never places what it holds."""
    results: dict[str, Measures] = {}
    events, begun_s = 0, time.process_time()
    for name in names:
        lives, more_events = run(workload, name, options, partial(progress, name))
        results[name] = measure(lives, options.slo, closed_loop=workload.concurrency > 0)
        events += more_events
    return Comparison(workload.name, results, events / max(1e-9, time.process_time() - begun_s))


def run(
    workload: Workload, name: str, options: Options, progress: Callable[[int], None] = lambda ended: None
) -> tuple[list[Life], int]:
    """One policy: what became of each request, and how many events it took. The same arguments, the same answer."""
    pods = options.new_pods()
    policy = POLICIES[name](Setting(pods, Random(options.seed), options.patience_s, options.slo.tpot_s))
    loop = Loop(workload, pods, policy, options.patience_s)
    return loop.run(progress), loop.events


def as_json(comparison: Comparison) -> bytes:
    """The machine's form; numbers that do not exist are null."""
    hidden = ("worst_tenant_ttft_p99_s", "answers_rps")
    policies = {
        name: {field: value for field, value in msgspec.structs.asdict(measures).items() if field not in hidden}
        for name, measures in comparison.policies.items()
    }
    whole = {"policies": policies, "default": DEFAULT, "events_per_s": comparison.events_per_s}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"
