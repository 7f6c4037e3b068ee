"""What became of prefill halves, and what follows for the requests that wait for them elsewhere.

The agents tell each other: this here only keeps the books, and speaks for agents that cannot any more.
"""

from __future__ import annotations

from matrixinfer.bus.contracts.disaggregation import Handed
from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.failures import no_prefill
from matrixinfer.handlers.dispatch.ledger import Ledger
from matrixinfer.handlers.dispatch.pairs.split import LOST_HANDOVERS
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.settings import DispatchSettings


class PrefillNews:
    def __init__(self, ledger: Ledger, settings: DispatchSettings) -> None:
        self._ledger = ledger
        self._settings = settings

    def ended(self, pod: Pod, end: Finished, request: Request | None, now: float) -> None:
        """A prefill half ended at `pod`, well or not: its own agent has told the one that decodes."""
        if request is None or request.prefill is None or request.prefill.work != end.key:
            return
        fleet, usage = self._ledger.fleet, end.usage
        if end.outcome == "completed":
            fleet.prefilled(request, now)
            if request.work is not None and usage.prompt_tokens:
                self._ledger.queue.amend(request.work, usage.prompt_tokens - usage.cached_tokens)
        elif end.outcome != "cancelled":
            request.avoid = pod.name
            fleet.pause(pod.name, now + self._settings.refused_pause_s)
        fleet.release_prefill(request)

    def given_back(self, request: Request, now: float, effects: Effects) -> None:
        """The decode agent cannot serve it without its prefill, which is lost. It is no fault of that agent. The other
        one may not have told its end yet: then this is the first that is heard of it, and it may never tell."""
        if request.prefill is not None:
            request.avoid = request.prefill.pod
            self._ledger.fleet.doubt(request.prefill.pod, now)
        self._ledger.take_back(request, effects)
        request.lost_handovers += 1
        if request.lost_handovers > LOST_HANDOVERS:
            self._ledger.fail(request, no_prefill(request.lost_handovers), effects)

    def lost_with(self, pod: Pod, effects: Effects) -> None:
        """The agent that computed these prompts may not have been heard by those that are to decode them. Who was told
        before takes no second word."""
        for request in self._ledger.requests.values():
            if request.work is not None and request.prefilled_by == pod.name:
                lost = Handed(request.work, request.boot, lost="its agent was lost before it was heard")
                effects.handed.append((request.pod, lost))

    def missing(self, pod: Pod, known: set[WorkKey], long_ago: float, effects: Effects) -> None:
        """Halves that the agent should have had before `long_ago`, and that are not among what it knows of."""
        for request in list(pod.prefilling.values()):
            half = request.prefill
            if half is not None and half.work not in known and request.placed_at <= long_ago:
                self._ledger.lose_prefill(request, "it was lost on the way to its agent", effects)
