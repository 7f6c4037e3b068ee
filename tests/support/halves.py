"""The agent that has the other half of a request, as the agent under test meets it."""

from __future__ import annotations

from typing import cast

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Done
from matrixinfer.bus.contracts.disaggregation import Connector, Counterpart, Handed, Handover, Parted
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.ports import Signal, Subscription
from support.agent import ME, AgentHouse, FakeGateway

PREFILL_TIMEOUT_S = 20.0
TRANSFER_TIMEOUT_S = 5.0
OTHER = "other.0"


def counterpart(connector: Connector = "nixl", boot: str = "boot-o") -> Counterpart:
    at_once = connector == "sglang"
    meeting = ("10.0.0.1:8998", 42) if at_once else ("", 0)
    return Counterpart(connector, OTHER, boot, PREFILL_TIMEOUT_S, TRANSFER_TIMEOUT_S, *meeting)


def prefill_key(rid: str = "a") -> WorkKey:
    return WorkKey(rid, 1, 1, "prefill")


def decode_key(rid: str = "a") -> WorkKey:
    return WorkKey(rid, 1, 1, "decode")


class OtherAgent:
    """Keeps what it was told, and answers with its boot unless it is `deaf`."""

    def __init__(self, bus: Bus, boot: str = "boot-o") -> None:
        self.bus = bus
        self.boot = boot
        self.deaf = False
        self.words: list[Handover] = []
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        subject = self.bus.subjects.handover(ME.namespace, OTHER)
        self._subscription = await self.bus.signals.subscribe(subject, self._hear)

    async def leave(self) -> None:
        assert self._subscription is not None
        await self._subscription.close()

    @property
    def handed(self) -> list[Handed]:
        return [word for word in self.words if isinstance(word, Handed)]

    @property
    def parted(self) -> list[WorkKey]:
        return [word.key for word in self.words if isinstance(word, Parted)]

    async def _hear(self, signal: Signal) -> None:
        self.words.append(decode(signal.data, cast("type[Handover]", Handover)))
        if not self.deaf:
            await signal.respond(encode(Done(self.boot)))


async def other_agent(house: AgentHouse, boot: str = "boot-o") -> OtherAgent:
    other = OtherAgent(house.others, boot)
    await other.open()
    return other


BODY = b'{"messages": [],  "max_tokens":9}'
PARAMS = b'{"remote_port":1}'


async def place_decode(house: AgentHouse, rid: str = "a", connector: Connector = "nixl", **fields: object) -> None:
    """What dispatch does with the half that is to be the answer."""
    given = {"phase": "decode", "counterpart": counterpart(connector), "body": BODY, **fields}
    await house.place(rid, **given)


def ends(house: AgentHouse) -> list[tuple[str, bool, str]]:
    """Outcome, started and handover of all that ended."""
    return [(finished.outcome, finished.started, finished.handover) for finished in house.finished]


def failures(gateway: FakeGateway) -> list[int]:
    """The statuses that the gateway was told."""
    return [decode(c.data, Failure).status for c in gateway.chunks() if c.kind is ChunkKind.FAILED]


async def tell(house: AgentHouse, word: Handover) -> Done:
    """What the other agent, or dispatch, says to the agent under test."""
    subject = house.others.subjects.handover(ME.namespace, ME.pod)
    answer = decode(await house.others.signals.request(subject, encode(word), timeout_s=1.0), Done)
    await house.settle()
    return answer


async def hand(house: AgentHouse, rid: str = "a", params: bytes = b"", *, lost: str = "", boot: str = ME.boot) -> None:
    await tell(house, Handed(decode_key(rid), boot, params, lost))
