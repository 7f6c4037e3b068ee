"""What the status of a Pod has said so far, as far as a node goes on from it. Pure.

Whoever may write objects may write anything there: a status of another shape is as if there were none.
"""

from __future__ import annotations

import msgspec

from matrixinfer.agents.node.pods import Object


class FormerCondition(msgspec.Struct, frozen=True, rename="camel"):
    type: str
    status: str = ""
    last_transition_time: str | None = None


class _Running(msgspec.Struct, frozen=True, rename="camel"):
    started_at: str | None = None


class _State(msgspec.Struct, frozen=True):
    running: _Running | None = None


class FormerContainer(msgspec.Struct, frozen=True, rename="camel"):
    """`started_at` of the life that ran."""

    name: str
    started: bool = False
    ready: bool = False
    restart_count: int = 0
    state: _State | None = None

    @property
    def started_at(self) -> str | None:
        return self.state.running.started_at if self.state is not None and self.state.running is not None else None


class FormerStatus(msgspec.Struct, frozen=True, rename="camel"):
    start_time: str | None = None
    conditions: tuple[FormerCondition, ...] = ()
    container_statuses: tuple[FormerContainer, ...] = ()
    init_container_statuses: tuple[FormerContainer, ...] = ()

    def condition(self, type: str) -> FormerCondition | None:
        return next((one for one in self.conditions if one.type == type), None)


def former_status(document: Object) -> FormerStatus:
    try:
        return msgspec.convert(document.get("status") or {}, FormerStatus)
    except msgspec.ValidationError:
        return FormerStatus()
