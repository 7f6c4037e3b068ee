"""What passes on the bus of a running platform about requests in halves, in the order in which it is heard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.disaggregation import Handed, Handover
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import ChunkKind, Frame
from matrixinfer.bus.contracts.load import LoadEvent, Snapshot
from matrixinfer.bus.jetstream import connect
from matrixinfer.bus.ports import Signal
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.subjects import key, parse_key
from matrixinfer.handlers.api.meta import DEFAULT_NAMESPACE
from support.house import House


class Overheard:
    """By model, as the envelopes name it. Pods are named `<model>-<group>-<role>-…`."""

    def __init__(self, house: House) -> None:
        self._settings = BusSettings(url=house.record()["bus_url"], name="test")
        self._models: dict[str, str] = {}  # by request
        self._said: defaultdict[str, list[str]] = defaultdict(list)
        self._works: list[tuple[str, str]] = []
        self._handovers: defaultdict[str, list[str]] = defaultdict(list)
        self._ends: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._snapshots: dict[str, Snapshot] = {}

    async def __aenter__(self) -> Overheard:
        self._bus: Bus = await connect(self._settings, SystemClock())
        subscribe, prefix = self._bus.signals.subscribe, self._bus.subjects.prefix
        await subscribe(f"{prefix}.work.>", self._on_work)
        await subscribe(f"{prefix}.handover.>", self._on_handover)
        await subscribe(f"{prefix}.frames.>", self._on_frame)
        await subscribe(self._bus.subjects.load_filter(), self._on_load)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._bus.link.close()

    # -- what was heard
    def of(self, model: str, wanted: Sequence[str]) -> list[str]:
        """Of all that was said of the model's requests, what is among `wanted`."""
        return [said for said in self._said[model] if said in wanted]

    def phases(self, model: str) -> set[str]:
        """Of all works that were sent out; a phase that went out twice is `<phase> again`."""
        phases = [said.removeprefix("work ") for said in self._said[model] if said.startswith("work ")]
        return {phase if phases.count(phase) == 1 else f"{phase} again" for phase in phases}

    def pods_with(self, phase: str) -> list[str]:
        """Those that were sent such work, each once."""
        return list(dict.fromkeys(pod for pod, work in self._works if work == phase))

    def handovers(self, model: str) -> list[str]:
        return self._handovers[model]

    def ends(self, model: str) -> set[tuple[str, str]]:
        """(phase, outcome) of all ends."""
        return self._ends[model]

    def is_computing(self, phase: str) -> bool:
        """Does an agent hold work of this phase, without a first token?"""
        return any(work.phase == phase for snapshot in self._snapshots.values() for work in snapshot.waiting)

    async def serving(self, model: str) -> int:
        """Pods that tell of themselves, and are in the pool: of one that comes back the pool hears a little later."""
        entries = await self._bus.store("SERVING").entries(key("pod", DEFAULT_NAMESPACE, model))
        return len({parse_key(entry)[-1] for entry in entries} & self._snapshots.keys())

    # -- hearing it
    async def _on_work(self, signal: Signal) -> None:
        envelope = decode(signal.data, Envelope)
        self._models[envelope.rid] = envelope.model
        self._said[envelope.model].append(f"work {envelope.phase}")
        self._works.append((self._bus.subjects.parse_work(signal.subject).pod, envelope.phase))

    async def _on_handover(self, signal: Signal) -> None:
        order: Handover = decode(signal.data, Handover)  # type: ignore[arg-type]  # a union is not a class
        model = self._models.get(order.key.rid, "")
        if isinstance(order, Handed):
            self._said[model].append(f"handed to {order.key.phase}")
            self._handovers[model].append("lost" if order.lost else "taken")

    async def _on_frame(self, signal: Signal) -> None:
        if not signal.data:
            return
        for chunk in decode(signal.data, Frame).chunks:
            model = self._models.get(chunk.rid, "")
            if chunk.number == 0:
                self._said[model].append(f"first frame {chunk.phase}")
            if chunk.kind is not ChunkKind.DATA:
                self._said[model].append(f"last frame {chunk.phase}")

    async def _on_load(self, signal: Signal) -> None:
        event = decode(signal.data, LoadEvent)
        if event.snapshot is not None:
            self._snapshots[event.pod] = event.snapshot
        for end in event.finished:
            self._ends[self._models.get(end.key.rid, "")].add((end.key.phase, end.outcome))
