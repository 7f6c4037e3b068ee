"""Two agents as processes of their own on a real nats-server, and a test that is dispatch and gateway for them.

All that is said on the bus is heard by one subscription, so in the order in which the server passed it on.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Abort
from matrixinfer.bus.contracts.disaggregation import Connector, Counterpart, Handed, Handover
from matrixinfer.bus.contracts.envelope import Envelope, Phase
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Frame
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.bus.ids import work_message_id
from matrixinfer.bus.ports import Signal
from matrixinfer.bus.topology import Part
from support.eventually import eventually
from support.nats import RunningServer, connected, running_server
from support.platform import Child

NS = "ns"
PODS: dict[Phase, str] = {"prefill": "pod.p", "decode": "pod.d"}
PROMPT_TOKENS = 200
BLOCK_TOKENS = 4
TOKENS = 20
BODY: dict[str, Any] = {"prompt": "word " * (4 * PROMPT_TOKENS // 5), "max_tokens": TOKENS, "ignore_eos": True}


class PairOfAgents:
    """`log` holds what was said, in words, in order; `chunks` what came for the gateway."""

    def __init__(self, connector: Connector, bus: Bus, folder: Path, server: RunningServer) -> None:
        self.connector = connector
        self.bus = bus
        self.log: list[str] = []
        self.chunks: list[Chunk] = []
        self.finished: dict[str, Finished] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.boots: dict[str, str] = {}
        self.agents: dict[Phase, Child] = {}
        self._folder = folder
        self._server = server

    # -- as dispatch
    async def place(self, rid: str = "r", *, prefill_timeout_s: float = 30.0, **body: Any) -> None:
        """Both halves at once."""
        fields = BODY | {"stream": True} | body
        for phase, other in (("prefill", "decode"), ("decode", "prefill")):
            await self._post(rid, cast(Phase, phase), cast(Phase, other), prefill_timeout_s, fields)

    async def _post(self, rid: str, phase: Phase, other: Phase, timeout_s: float, body: dict[str, Any]) -> None:
        pod, other_pod = PODS[phase], PODS[other]
        meeting = self.snapshots[PODS["prefill"]].bootstrap if self.connector == "sglang" else ""
        envelope = Envelope(
            rid=rid,
            epoch=1,
            hop=1,
            phase=phase,
            boot=self.boots[pod],
            tenant="t",
            namespace=NS,
            modelserver="ms",
            gateway="g1",
            remaining_s=60.0,
            endpoint="completions",
            model="m",
            stream=True,
            body=msgspec.json.encode(body),
            counterpart=Counterpart(self.connector, other_pod, self.boots[other_pod], timeout_s, 10.0, meeting, 4711),
        )
        subject, message_id = self.bus.subjects.work(NS, pod), work_message_id(rid, 1, 1, 1, phase)
        await (await self.bus.queue.post(subject, encode(envelope), message_id=message_id))

    async def say_lost(self, rid: str = "r") -> None:
        """What dispatch says when the prefill agent has died."""
        word = Handed(WorkKey(rid, 1, 1, "decode"), self.boots[PODS["decode"]], lost="its agent died")
        subject = self.bus.subjects.handover(NS, PODS["decode"])
        await self.bus.signals.publish(subject, encode(word))

    async def abort(self, phase: Phase, rid: str = "r") -> None:
        await self.bus.signals.publish(
            self.bus.subjects.control(NS, PODS[phase]), encode(Abort([WorkKey(rid, 1, 1, phase)]))
        )

    # -- what was heard
    def has(self, *words: str) -> bool:
        return all(word in self.log for word in words)

    def is_in_order(self, *words: str) -> bool:
        """Each was said, and the first time before the next one's first time."""
        places = [self.log.index(word) for word in words]
        return places == sorted(places)

    def end_of(self, phase: Phase) -> tuple[str, bool, str] | None:
        finished = self.finished.get(phase)
        return None if finished is None else (finished.outcome, finished.started, finished.handover)

    def is_computing(self) -> bool:
        """The prefill engine has the prompt."""
        return self.snapshots[PODS["prefill"]].kv_usage > 0

    def is_idle(self, phase: Phase) -> bool:
        """By its newest snapshot, neither the agent nor its engine has anything."""
        last = self.snapshots[PODS[phase]]
        return not last.running and not last.waiting and last.kv_usage == 0 == last.running_tokens

    async def hear(self, signal: Signal) -> None:
        family = signal.subject.split(".")[1]
        if family == "work":
            self.log.append(f"work {decode(signal.data, Envelope).phase}")
        elif family == "handover":
            word = decode(signal.data, cast("type[Handover]", Handover))
            lost = " lost" if isinstance(word, Handed) and word.lost else ""
            self.log.append(type(word).__name__.lower() + lost)
        elif family == "load":
            self._hear_load(decode(signal.data, LoadEvent))
        elif family == "frames":
            for chunk in decode(signal.data, Frame).chunks:
                self.chunks.append(chunk)
                self.log.append(f"{ChunkKind(chunk.kind).name.lower()} {chunk.phase}")
            await signal.respond(b"")

    def _hear_load(self, event: LoadEvent) -> None:
        self.boots[event.pod] = event.boot
        self.log += [f"started {key.phase}" for key in event.started]
        for finished in event.finished:
            self.finished[finished.key.phase] = finished
            self.log.append(f"finished {finished.key.phase}")
        if event.snapshot is not None:
            self.snapshots[event.pod] = event.snapshot
            if event.pod == PODS["decode"] and (event.snapshot.kv_usage or event.snapshot.running_tokens):
                self.log.append("decode engine busy")

    # -- processes
    def start(self, phase: Phase, config: dict[str, Any]) -> None:
        environment = {
            "MATRIXINFER_AGENT_NAMESPACE": NS,
            "MATRIXINFER_AGENT_POD": PODS[phase],
            "MATRIXINFER_AGENT_ENGINE": "Simulated",
            "MATRIXINFER_AGENT_SERVED_MODEL": "m",
            "MATRIXINFER_AGENT_DRAIN_S": "0.1",
            "MATRIXINFER_AGENT_ENGINE_CONFIG": json.dumps(config),
            "MATRIXINFER_BUS_URL": self._server.url_of(Part.AGENT),
        }
        log = self._folder / f"{phase}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "matrixinfer", "agent"]
            process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)
        self.agents[phase] = Child(phase, process, log)

    def is_up(self) -> bool:
        for child in self.agents.values():
            assert child.is_alive(), f"{child.name} has ended:\n{child.log.read_text()}"
        return set(self.snapshots) == set(PODS.values())


@asynccontextmanager
async def pair_of_agents(
    folder: Path, connector: Connector, *, prefill_tokens_per_s: float = 400.0
) -> AsyncIterator[PairOfAgents]:
    """The decode agent's engine computes prompts at once, if it has to."""
    has_store = connector in ("lmcache", "http")
    common: dict[str, Any] = {"block_tokens": BLOCK_TOKENS, "decode_step_s": 0.01, "kv_transfer_tokens_per_s": 2000.0}
    if has_store:
        common["shared_cache"] = str(folder / "blocks")
    mode: dict[Phase, str] = {phase: "none" if has_store else phase for phase in PODS}
    async with running_server(folder) as server, connected(server.url) as bus:
        pair = PairOfAgents(connector, bus, folder, server)
        await bus.signals.subscribe(f"{bus.subjects.prefix}.>", pair.hear)
        try:
            pair.start(
                "prefill", common | {"disaggregation": mode["prefill"], "prefill_tokens_per_s": prefill_tokens_per_s}
            )
            pair.start("decode", common | {"disaggregation": mode["decode"], "prefill_tokens_per_s": 0})
            await eventually(pair.is_up, timeout_s=30.0)
            yield pair
        finally:
            await asyncio.gather(*[child.end() for child in pair.agents.values()])
