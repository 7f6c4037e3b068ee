"""What a decision asks the shell to do; the state has changed already when it is returned."""

from __future__ import annotations

from matrixinfer.bus.contracts.decision import Ending, FirstToken
from matrixinfer.bus.contracts.disaggregation import Handed
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.request import Request


class Effects:
    """`acknowledged` holds every request that left; `buried` has the reason for a dead letter."""

    __slots__ = (
        "aborted",
        "acknowledged",
        "ask",
        "buried",
        "endings",
        "failed",
        "first_tokens",
        "handed",
        "has_deaths",
    )

    def __init__(self) -> None:
        self.acknowledged: list[Request] = []
        self.failed: list[tuple[Request, Failure]] = []
        self.buried: list[tuple[Request, str]] = []
        self.aborted: list[tuple[str, WorkKey]] = []
        """(pod, work)"""
        self.handed: list[tuple[str, Handed]] = []
        """To decode agents: (pod, that the prefill half is lost)."""
        self.ask: list[str] = []
        """Pods to send a Dump."""
        self.first_tokens: list[FirstToken] = []
        self.endings: list[Ending] = []
        """These two are for the record only."""
        self.has_deaths = False
        """Deaths were counted that a successor must know of."""

    def __bool__(self) -> bool:
        return bool(self.acknowledged or self.aborted or self.handed or self.ask or self.endings or self.has_deaths)
