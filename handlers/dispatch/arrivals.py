"""A request comes out of REQUESTS: new, or again after a takeover or a broken connection. What is known decides."""

from __future__ import annotations

import hashlib
from enum import Enum, auto

from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.failures import turned_away
from matrixinfer.handlers.dispatch.fair.refusal import Refusal
from matrixinfer.handlers.dispatch.ledger import Ledger, Whereabouts
from matrixinfer.handlers.dispatch.pairs.reunion import Reunion
from matrixinfer.handlers.dispatch.request import Held, Request
from matrixinfer.handlers.dispatch.sightings import Seen, Sighting, Sightings

HOPS_OF_A_REIGN = 1000
"""A request stored before this reign may have been placed by a predecessor, whose hops are not all known: its hops are
numbered from `epoch * 1000`, so that no two placements ever share a WorkKey."""

BYTES_PER_TOKEN = 4
"""Of a prompt that nobody counted, JSON around it included."""


class Arrival(Enum):
    QUEUED = auto()
    ADOPTED = auto()
    """An agent has it waiting: placed there, nothing to send."""
    KEPT = auto()
    """Known here; from now on with the new delivery."""
    REPEATED = auto()
    """Like KEPT, and this reign had delivered it before."""
    REFUSED = auto()
    """There is no place for it, or it would miss its deadline."""
    SETTLED = auto()
    """Started, ended or cancelled before: acknowledge the delivery."""


class Arrivals:
    def __init__(self, ledger: Ledger, sightings: Sightings, reunion: Reunion) -> None:
        self._ledger = ledger
        self._sightings = sightings
        self._reunion = reunion
        self._order = 0
        self.reign_since = 0.0

    def receive(self, envelope: Envelope, held: Held, age_s: float, now: float, effects: Effects) -> Arrival:
        ledger = self._ledger
        key = (envelope.rid, envelope.attempt)
        known = ledger.requests.get(key)
        if known is not None:
            return self._again(known, held)
        if ledger.settled.get(key, now) is not None or ledger.tombstones.get(key, now):
            return Arrival.SETTLED
        request = self._request(envelope, held, now - age_s)
        request.deaths = ledger.deaths.get(key, now) or 0
        sighting = self._sightings.take(key) if self._sightings.is_open else None
        if sighting is not None:
            return self._compare(request, sighting, now)
        if envelope.attempt == 1 and not request.hop_floor and (refusal := self._refusal(request, now)) is not None:
            ledger.admit(request)
            ledger.fail(request, turned_away(refusal), effects)
            return Arrival.REFUSED
        ledger.admit(request)
        return Arrival.QUEUED

    def _refusal(self, request: Request, now: float) -> Refusal | None:
        """Of a new request only: what a predecessor may have had in its queue, or was published again, was accepted for
        good. Whether it starts in time is a question only while room is short."""
        ledger = self._ledger
        rate_per_s = ledger.drain_rate.per_s(now, ledger.fleet.serving()) if ledger.is_short else None
        return ledger.queue.refusal(request, now, rate_per_s)

    def _request(self, envelope: Envelope, held: Held, since: float) -> Request:
        self._order += 1
        epoch = self._ledger.epoch
        return Request(
            key=(envelope.rid, envelope.attempt),
            tenant=envelope.tenant,
            gateway=envelope.gateway,
            prompt_tokens=envelope.prompt_tokens or envelope.size_bytes // BYTES_PER_TOKEN,
            priority=envelope.priority,
            session=session_digest(envelope.session),
            adapter=envelope.adapter,
            max_tokens=envelope.max_tokens,
            output_tokens=self._ledger.queue.expected_output_tokens(envelope.tenant, envelope.max_tokens),
            block_hashes=envelope.block_hashes,
            tokenized=envelope.tokenized,
            size_bytes=len(held.data),
            order=self._order,
            since=since,
            deadline=since + envelope.remaining_s,
            held=held,
            reign=epoch,
            is_silent=not envelope.stream,
            hop_floor=epoch * HOPS_OF_A_REIGN if since <= self.reign_since else 0,
        )

    def _again(self, known: Request, held: Held) -> Arrival:
        repeated = known.reign == self._ledger.epoch
        known.held, known.reign = held, self._ledger.epoch
        return Arrival.REPEATED if repeated else Arrival.KEPT

    def _compare(self, request: Request, sighting: Sighting, now: float) -> Arrival:
        ledger = self._ledger
        if sighting.seen is Seen.SETTLED:
            ledger.remember(request, Whereabouts(sighting.pod, sighting.boot, sighting.hop, sighting.phase))
            return Arrival.SETTLED
        pod = ledger.fleet.pods.get(sighting.pod)
        if sighting.seen is Seen.WAITING and pod is not None and pod.boot == sighting.boot and not pod.silent:
            work = WorkKey(*request.key, sighting.hop, sighting.phase)
            self._reunion.adopt(request, pod, work, now)
            return Arrival.ADOPTED
        request.hop = sighting.hop
        ledger.admit(request)
        return Arrival.QUEUED


def session_digest(session: str) -> str:
    """What dispatch knows a session by: its name is the client's, and is in no record. Empty stays empty."""
    return hashlib.blake2b(session.encode(), digest_size=8).hexdigest() if session else ""
