"""A pool with prefill and decode pods, told what its agents say without any agent."""

from __future__ import annotations

from random import Random
from typing import Any

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Outcome, Snapshot, WorkKey
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.scheduling.port import Knowledge
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import NoMessage
from support.scheduling import SentPrefixes, a_scheduler
from support.scripted import MS, NS, envelope

WITH_ROLES = Profile("p", [Plugin("ready"), Plugin("role"), Plugin("has_adapter")], [WeightedPlugin("predicted_ttft")])
AUTO = Disaggregation("http", "auto", threshold_tokens=512)


class Pool:
    """Pods by name and role, each with 2 slots and, of prefill pods, a bootstrap server."""

    def __init__(self, plan: Disaggregation | None, profile: Profile = WITH_ROLES, **roles: str) -> None:
        self.now, self.boots = 100.0, dict.fromkeys(roles, 1)
        self.sent = SentPrefixes()
        scheduler = a_scheduler(profile, knowledge=Knowledge(approximate=self.sent))
        self.queue = FairQueue()
        self.state = PoolState(DispatchSettings(), self.queue, scheduler, Random(1))
        self.state.split_by(plan)
        self.state.fleet.list_pods(
            {name: PoolPod(NS, MS, name, role=role, pd_group="g") for name, role in roles.items()}
        )
        self.state.begin_reign(1, self.now - 1.0)
        self.state.end_catching_up()
        self.sequences = dict.fromkeys(roles, 0)
        for name in roles:
            self.introduce(name)

    def introduce(self, name: str) -> None:
        bootstrap = f"{name}:8998" if self.state.fleet.pods[name].role == "prefill" else ""
        snapshot = Snapshot(2, kv_capacity_tokens=100_000, bootstrap=bootstrap)
        self.state.dumped(name, Dumped(self.boot(name), 0, False, snapshot, []), self.now, self.now)

    def boot(self, name: str) -> str:
        return f"{name}-{self.boots[name]}"

    def ask(self, rid: str = "r", tokens: int = 4096, **fields: Any) -> list[Placement]:
        """Any: more fields of the envelope."""
        asked = envelope(rid, prompt_tokens=tokens, max_tokens=10, remaining_s=1e6, **fields)
        self.state.receive(asked, NoMessage(), 0.0, self.now, Effects())
        return self.place()

    def place(self) -> list[Placement]:
        return self.state.place(self.now, 256)

    def tell(self, pod: str, *, started: tuple[WorkKey, ...] = (), finished: tuple[Finished, ...] = ()) -> Effects:
        self.sequences[pod] += 1
        event = LoadEvent(NS, pod, self.boot(pod), self.sequences[pod], False, list(started), list(finished))
        return self.state.heard(event, self.now)

    def end_prefill(self, placement: Placement, outcome: Outcome = "completed") -> Effects:
        half = placement.prefill
        assert half is not None
        usage = Usage(prompt_tokens=4096, cached_tokens=1024)
        return self.tell(half.pod, finished=(Finished(half.work, outcome, outcome == "completed", usage),))

    def give_back(self, placement: Placement) -> Effects:
        return self.tell(placement.pod, finished=(Finished(placement.work, "refused", False, handover="lost"),))


def where(placements: list[Placement]) -> list[tuple[str, str]]:
    """(prefill pod, pod): the first is empty for whole requests."""
    return [(one.prefill.pod if one.prefill else "", one.pod) for one in placements]
