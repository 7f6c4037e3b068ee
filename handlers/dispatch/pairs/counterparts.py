"""What each agent of a pair is told of the other."""

from __future__ import annotations

from matrixinfer.bus.contracts.disaggregation import Counterpart
from matrixinfer.handlers.dispatch.placing import Placement


def counterparts(placement: Placement) -> tuple[Counterpart, Counterpart]:
    """The prefill half as the decode agent has to know it, and the decode half for the prefill agent."""
    plan, prefill = placement.plan, placement.prefill
    if plan is None or prefill is None:
        raise ValueError(f"expected a request on a pair, got {placement.work.rid} on one pod")
    timeouts = (plan.prefill_timeout_s, plan.transfer_timeout_s)
    meeting = (placement.bootstrap, prefill.room) if plan.connector == "sglang" else ("", 0)
    return (
        Counterpart(plan.connector, prefill.pod, prefill.boot, *timeouts, *meeting),
        Counterpart(plan.connector, placement.pod, placement.boot, *timeouts, *meeting),
    )
