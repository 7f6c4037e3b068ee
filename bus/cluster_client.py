"""The other side of the local cluster's door: what the command line and the node use instead of the handlers' code."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, TypeVar

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.cluster import (
    Applied,
    AppliedObject,
    Apply,
    Delete,
    Deleted,
    DoorReply,
    Get,
    ListObjects,
    Objects,
    Refusal,
    RefusalCode,
    SetStatus,
    Verb,
)
from matrixinfer.bus.errors import BusError, Malformed

Manifest = dict[str, Any]


class Sighting(NamedTuple):
    """An object as it is, or as it was last seen before it went."""

    manifest: Manifest
    is_gone: bool = False


R = TypeVar("R", Applied, Objects, Deleted)


class Refused(BusError):
    """The cluster understood and said no: `problems` are sentences for a person."""

    def __init__(self, code: RefusalCode, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.code = code
        self.problems = problems


class ClusterClient:
    """Every call raises Refused, NobodyThere (no handlers run), TimedOut (after `timeout_s`) and Unavailable.

    Objects are JSON values in Kubernetes' form.
    """

    def __init__(self, bus: Bus, *, timeout_s: float = 5.0) -> None:
        self._bus = bus
        self._timeout_s = timeout_s

    async def apply(self, manifests: str, namespace: str = "default") -> list[AppliedObject]:
        """Create or change what the YAML describes; nothing is applied when any document is wrong."""
        return (await self._ask("apply", Apply(manifests, namespace), Applied)).objects

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        try:
            reply = await self._ask("get", Get(kind, namespace, name), Objects)
        except Refused as refused:
            if refused.code == "not_found":
                return None
            raise
        return _manifests(reply)[0]

    async def list(self, kind: str, namespace: str = "", labels: dict[str, str] | None = None) -> list[Manifest]:
        """All pages, ordered by namespace and name."""
        found: list[Manifest] = []
        after = ""
        while True:
            reply = await self._ask("list", ListObjects(kind, namespace, labels or {}, after), Objects)
            found += _manifests(reply)
            after = reply.more
            if not after:
                return found

    async def set_status(self, kind: str, namespace: str, name: str, uid: str, status: Manifest) -> Manifest:
        reply = await self._ask("status", SetStatus(kind, namespace, name, uid, json.dumps(status).encode()), Objects)
        return _manifests(reply)[0]

    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> bool:
        """False when there was nothing to delete. A Pod is gone only after its processes ended."""
        return (await self._ask("delete", Delete(kind, namespace, name, uid), Deleted)).found

    async def _ask(self, verb: Verb, message: msgspec.Struct, expected: type[R]) -> R:
        subject = self._bus.subjects.cluster(verb)
        data = await self._bus.signals.request(subject, encode(message), timeout_s=self._timeout_s)
        reply: DoorReply = decode(data, DoorReply)  # type: ignore[arg-type]
        if isinstance(reply, Refusal):
            raise Refused(reply.code, reply.problems)
        if not isinstance(reply, expected):
            raise Malformed(f"expected a {expected.__name__} reply from {subject}, met {type(reply).__name__}")
        return reply


def _manifests(reply: Objects) -> list[Manifest]:
    return [json.loads(data) for data in reply.objects]
