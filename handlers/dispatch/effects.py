"""What a decision asks the shell to do; the state has changed already when it is returned."""

from __future__ import annotations

from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.request import Request


class Effects:
    """`acknowledged` holds every request that left; `buried` has the reason for a dead letter."""

    __slots__ = ("aborted", "acknowledged", "ask", "buried", "failed")

    def __init__(self) -> None:
        self.acknowledged: list[Request] = []
        self.failed: list[tuple[Request, Failure]] = []
        self.buried: list[tuple[Request, str]] = []
        self.aborted: list[tuple[str, WorkKey]] = []
        """(pod, work)"""
        self.ask: list[str] = []
        """Pods to send a Dump."""

    def __bool__(self) -> bool:
        return bool(self.acknowledged or self.aborted or self.ask)
