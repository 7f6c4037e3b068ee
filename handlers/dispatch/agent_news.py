"""What agents say, or no longer say, and what follows for the requests placed on them."""

from __future__ import annotations

from collections.abc import Iterable

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.decision import Ending, FirstToken
from matrixinfer.bus.contracts.load import Finished, LoadEvent, WorkKey
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.failures import poison
from matrixinfer.handlers.dispatch.ledger import Ledger, Whereabouts
from matrixinfer.handlers.dispatch.pairs.news import PrefillNews
from matrixinfer.handlers.dispatch.pairs.reunion import Reunion
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from matrixinfer.handlers.dispatch.sightings import Seen, Sightings


class AgentNews:
    def __init__(self, ledger: Ledger, sightings: Sightings, reunion: Reunion, settings: DispatchSettings) -> None:
        self._ledger = ledger
        self._sightings = sightings
        self._reunion = reunion
        self._settings = settings
        self._halves = PrefillNews(ledger, settings)

    def heard(self, event: LoadEvent, now: float) -> Effects:
        effects = Effects()
        hearing = self._ledger.fleet.hear(event, now)
        if hearing is None:
            return effects
        pod = hearing.pod
        if hearing.reborn:
            self._rehome(pod, effects, died=True)
        self._started(pod, event.started, now, effects)
        for end in event.finished:
            self._ended(pod, end, now, effects)
            effects.endings.append(Ending(pod.name, end))
        if event.snapshot is not None:
            if pod.placed:
                self._started(pod, event.snapshot.running, now, effects)
            self._sightings.note(pod.name, pod.boot, self._strange(event.snapshot.waiting), Seen.WAITING)
        if self._ledger.fleet.is_to_ask(pod, now):
            effects.ask.append(pod.name)
        return effects

    def dumped(self, name: str, dumped: Dumped, asked_at: float, now: float) -> Effects:
        """The answer to a Dump that was sent at `asked_at`."""
        effects = Effects()
        hearing = self._ledger.fleet.inform(name, dumped, now)
        if hearing is None:
            return effects
        pod, snapshot = hearing.pod, dumped.snapshot
        if hearing.reborn:
            self._rehome(pod, effects, died=True)
        self._started(pod, snapshot.running, now, effects)
        for end in dumped.finished:
            self._ended(pod, end, now, effects)
        self._adopt(pod, snapshot.waiting, now)
        known = {*snapshot.running, *snapshot.waiting, *[end.key for end in dumped.finished]}
        self._place_the_missing_anew(pod, known, asked_at - self._settings.verify_after_s, effects)
        return effects

    def lost(self, name: str, *, died: bool) -> Effects:
        """The pod is silent; `died` when nobody answers to its name any more."""
        effects = Effects()
        pod = self._ledger.fleet.pods.get(name)
        if pod is not None and pod.silent:
            self._rehome(pod, effects, died=died)
        return effects

    def _started(self, pod: Pod, works: Iterable[WorkKey], now: float, effects: Effects) -> None:
        """A start settles the request whichever hop it is: the gateway binds the first it hears and ends the others."""
        requests = self._ledger.requests
        strange = []
        for work in works:
            if work.phase == "prefill":
                continue
            request = requests.get((work.rid, work.attempt))
            self._ledger.start(work, pod.name, request)
            if request is None:
                strange.append(work)
            else:
                self._learn_transfer(request, pod, work, now)
                self._ledger.settle(request, effects, Whereabouts(pod.name, pod.boot, work.hop, work.phase))
                effects.first_tokens.append(_first_token(request, pod, work, now))
        self._sightings.note(pod.name, pod.boot, strange, Seen.SETTLED)

    def _ended(self, pod: Pod, end: Finished, now: float, effects: Effects) -> None:
        work = end.key
        request = self._ledger.requests.get((work.rid, work.attempt))
        if work.phase == "prefill":
            self._halves.ended(pod, end, request, now)
        elif request is None:
            self._sightings.note_ends(pod.name, pod.boot, [end])
            self._ledger.account(end)
        elif end.outcome != "refused" or end.started:
            if end.started:
                self._ledger.start(work, pod.name, request)
            self._ledger.account(end)
            self._ledger.settle(request, effects, Whereabouts(pod.name, pod.boot, work.hop, work.phase))
            if end.started:
                effects.first_tokens.append(_first_token(request, pod, work, now))
        elif request.work == work and request.pod == pod.name and request.boot == pod.boot:
            if end.handover == "lost":
                self._halves.given_back(request, now, effects)
                return
            self._ledger.take_back(request, effects)
            request.avoid = pod.name
            self._ledger.fleet.pause(pod.name, now + self._settings.refused_pause_s)

    def _adopt(self, pod: Pod, waiting: Iterable[WorkKey], now: float) -> None:
        for work in waiting:
            if work.phase == "prefill":  # its decode half is the request
                continue
            request = self._ledger.requests.get((work.rid, work.attempt))
            if request is None:
                self._sightings.note(pod.name, pod.boot, [work], Seen.WAITING)
            elif request.work is None and not pod.silent:
                self._reunion.adopt(request, pod, work, now)
            elif request.work == work and request.pod == pod.name:
                request.placed_epoch = self._ledger.epoch
        self._reunion.look(now)

    def _place_the_missing_anew(self, pod: Pod, known: set[WorkKey], long_ago: float, effects: Effects) -> None:
        """What the agent does not have and will not get.

        Work of an older epoch it refuses from this answer on, so it goes out again, under the next hop: a copy that
        still comes out of WORK and is refused then is not mistaken for the new one. Work placed long ago was lost.
        """
        for request in list(pod.placed.values()):
            if request.work is None or request.work in known:
                continue
            if request.placed_epoch < self._ledger.epoch:
                self._ledger.take_back(request, effects)
                request.avoid = ""
            elif request.placed_at <= long_ago:
                self._ledger.take_back(request, effects)
                self._count_silence(request)
        self._halves.missing(pod, known, long_ago, effects)
        for work in [work for work, at in pod.unreported.items() if at <= long_ago and work not in known]:
            self._ledger.write_off(pod.name, work)

    def _rehome(self, pod: Pod, effects: Effects, *, died: bool) -> None:
        for request in list(pod.placed.values()):
            self._ledger.take_back(request, effects)
            if not died:
                self._count_silence(request)
            else:
                request.avoid = pod.name
                self._count_death(request, pod, effects)
        for request in list(pod.prefilling.values()):
            self._ledger.lose_prefill(request, "its agent died" if died else "its agent is silent", effects)
            if died:
                self._count_death(request, pod, effects)
        self._halves.lost_with(pod, effects)
        if died:
            self._ledger.queue.leave(pod.name)

    def _count_death(self, request: Request, pod: Pod, effects: Effects) -> None:
        self._ledger.count_death(request, effects)
        if request.deaths >= self._settings.deaths:
            effects.aborted += request.places()
            self._ledger.fail(request, poison(request.deaths), effects)
            effects.buried.append((request, f"poison: {request.deaths} agents died with it, the last one {pod.name}"))

    def _learn_transfer(self, request: Request, pod: Pod, work: WorkKey, now: float) -> None:
        if request.prefilled_by and request.work == work:
            self._ledger.fleet.decoded(pod, request, now)

    def _count_silence(self, request: Request) -> None:
        request.avoid = request.pod
        request.silent_hops += 1

    def _strange(self, works: Iterable[WorkKey]) -> list[WorkKey]:
        if not self._sightings.is_open:
            return []
        requests = self._ledger.requests
        return [work for work in works if work.phase != "prefill" and (work.rid, work.attempt) not in requests]


def _first_token(request: Request, pod: Pod, work: WorkKey, now: float) -> FirstToken:
    return FirstToken(work.rid, work.attempt, work.hop, pod.name, now - request.since)
