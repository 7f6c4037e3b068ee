"""Halves of requests: begins them, hears of their counterparts, and lets both sides know how each ended.

What to do next is decided in `halves`; whole requests never come here.
"""

from __future__ import annotations

import logging
from typing import Protocol, assert_never, cast

from matrixinfer.agents.engines.port import Engine, Piece
from matrixinfer.agents.worker.books import Books
from matrixinfer.agents.worker.connectors import decode_body, prefill_body
from matrixinfer.agents.worker.counterparts import Counterparts
from matrixinfer.agents.worker.early_words import EarlyWords
from matrixinfer.agents.worker.halves import DecodeHalf, Half, Next, PrefillHalf, counterpart_key
from matrixinfer.agents.worker.run import Run
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Done
from matrixinfer.bus.contracts.disaggregation import Handed, Handover, Parted
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import Outcome, WorkKey
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal

log = logging.getLogger("matrixinfer.agents.pairs")


class OnPiece(Protocol):
    def __call__(self, run: Run, piece: Piece, /) -> None: ...


class Hands(Protocol):
    """What the driver does for a half."""

    def give(self, run: Run, envelope: Envelope, body: bytes, stream: bool, on_piece: OnPiece) -> None:
        """Give the engine a job with this body."""
        ...

    def on_piece(self, run: Run, piece: Piece) -> None:
        """Treat a piece as one of any work."""
        ...

    def end(self, run: Run, outcome: Outcome, failure: Failure | None) -> None:
        """End it early, wherever it is."""
        ...

    def close(self, run: Run, outcome: Outcome, failure: Failure | None) -> None:
        """It ends, and the engine does not have it (any more)."""
        ...

    def abort(self, key: WorkKey, reason: str) -> None:
        """End this work, now or when it comes."""
        ...


class Pairs:
    """The halves in hand that have not ended. Runs on the loop, like the driver, and returns at once."""

    def __init__(self, books: Books, bus: Bus, engine: Engine, hands: Hands) -> None:
        self.counterparts = Counterparts(bus, books.identity)
        self._boot = books.identity.boot
        self._ledger = books.ledger
        self._clock = bus.clock
        self._engine = engine
        self._hands = hands
        self._open: dict[WorkKey, tuple[Run, Envelope]] = {}
        self._early = EarlyWords()

    # -- from the queue
    def half_of(self, envelope: Envelope, now: float) -> Half | None:
        """None for a whole request."""
        if envelope.counterpart is None or envelope.phase == "whole":
            return None
        kind = PrefillHalf if envelope.phase == "prefill" else DecodeHalf
        return kind(envelope.counterpart, now)

    def refuse(self, key: WorkKey, envelope: Envelope, refusal: Outcome, deadline_at: float) -> None:
        """It was refused at the door, and not as a duplicate."""
        half = self.half_of(envelope, self._clock.monotonic())
        if half is not None:
            self._say_last_word(half, key, refusal, deadline_at)

    def take(self, run: Run, envelope: Envelope) -> None:
        """It is in hand, its body perhaps not yet."""
        self._open[run.key] = (run, envelope)
        if (early := self._early.take(run.key)) is not None:
            self._on_handed(early)

    def begin(self, run: Run, envelope: Envelope, body: bytes) -> None:
        """The client's body is here."""
        half = run.half
        if isinstance(half, DecodeHalf):
            self._act(run, half, half.arrived(body))
        elif half is not None:
            self._hands.give(run, envelope, prefill_body(body, half.counterpart), False, self._on_prefill_piece)

    # -- from the counterpart
    async def on_signal(self, signal: Signal) -> None:
        """A SignalHandler for `mi.handover`. What cannot be read gets no answer: it may be of a newer contract."""
        try:
            word = decode(signal.data, cast("type[Handover]", Handover))
        except Malformed as error:
            log.warning("a word on %s cannot be read: %s", signal.subject, error)
            return
        if word.boot == self._boot:  # else it is for an earlier life, and the answer says so
            self._on_word(word)
        try:
            await signal.respond(encode(Done(self._boot)))
        except BusError as error:  # it is said again
            log.warning("could not answer on %s: %s", signal.subject, error)

    def _on_word(self, word: Handover) -> None:
        match word:
            case Handed():
                self._on_handed(word)
            case Parted():
                self._hands.abort(word.key, f"its decode half has parted ({word.reason})")
            case _:
                assert_never(word)

    def _on_handed(self, handed: Handed) -> None:
        run, _ = self._open.get(handed.key, (None, None))
        if run is not None and isinstance(run.half, DecodeHalf):
            self._act(run, run.half, run.half.handed(handed, self._clock.monotonic()))
        elif not self._ledger.is_known(handed.key):
            self._early.keep(handed, self._clock.monotonic())

    # -- from the engine
    def _on_prefill_piece(self, run: Run, piece: Piece) -> None:
        if isinstance(run.half, PrefillHalf) and piece.final:
            run.half.answer = piece.data
            if piece.failure is not None:
                run.half.failed(piece.failure)
        self._hands.on_piece(run, piece)

    def _on_decode_piece(self, run: Run, piece: Piece) -> None:
        half = run.half
        if isinstance(half, DecodeHalf) and run.first_at is None and run.outcome is None:
            if half.is_leaving and not piece.final:
                return
            if piece.final and self._goes_on(run, half, piece.failure):
                return
            if piece.failure is None:
                half.started()
                run.handover = half.handover
        self._hands.on_piece(run, piece)

    def _goes_on(self, run: Run, half: DecodeHalf, failure: Failure | None) -> bool:
        """The engine is through with it before its first token: False when its last piece is the request's."""
        was_wanted, was_leaving = half.is_prefill_wanted, half.is_leaving
        next_ = half.engine_ended(failure)
        if not was_leaving and next_ in (Next.STAY, Next.FAIL):
            return False
        if was_wanted:
            self._part(run, half, half.lost)
        self._act(run, half, next_)
        return True

    # -- time, and ends
    def look_at_the_time(self, now: float) -> None:
        """Give up what is overdue; to be called some times a second."""
        for run, _ in list(self._open.values()):
            half = run.half
            if half is None or half.due_at > now:
                continue
            if isinstance(half, PrefillHalf):
                half.lost = f"it was not done within {half.counterpart.prefill_timeout_s:g} s"
                self._hands.end(run, "failed", None)
                continue
            if half.is_prefill_wanted:
                self._part(run, half, "timeout")
            self._act(run, half, half.overdue())

    def forget(self, now: float) -> None:
        """Drop early words that are too old."""
        self._early.forget(now)

    def is_waiting(self, run: Run) -> bool:
        """It waits for its prefill: the engine has not heard of it."""
        return isinstance(run.half, DecodeHalf) and run.half.is_waiting

    def settled(self, run: Run) -> None:
        """Its outcome is certain."""
        if self._open.pop(run.key, None) is not None and run.half is not None and run.outcome is not None:
            self._say_last_word(run.half, run.key, run.outcome, run.deadline_at)

    def _say_last_word(self, half: Half, key: WorkKey, outcome: Outcome, until: float) -> None:
        counterpart = half.counterpart
        word: Handover | None = None
        if isinstance(half, PrefillHalf):
            word = half.last_word(key, outcome)
        elif half.is_prefill_wanted:
            word = Parted(counterpart_key(key), counterpart.boot, outcome)
        if word is not None:
            self.counterparts.tell(counterpart.pod, word, until)

    def _part(self, run: Run, half: DecodeHalf, reason: str) -> None:
        word = Parted(counterpart_key(run.key), half.counterpart.boot, reason)
        self.counterparts.tell(half.counterpart.pod, word, run.deadline_at)

    def _act(self, run: Run, half: DecodeHalf, next_: Next) -> None:
        run.handover = half.handover
        if next_ is Next.STAY:
            return
        log.debug("decode half %s: %s %s", run.key, next_.name, half.lost)
        if next_ is Next.LEAVE:
            self._engine.abort(run.engine_id)
        elif next_ is Next.REFUSE:
            self._hands.close(run, "refused", None)
        elif next_ is Next.FAIL:
            self._hands.close(run, "failed", half.fault)
        else:
            self._give(run, half, is_alone=next_ is Next.ALONE)

    def _give(self, run: Run, half: DecodeHalf, *, is_alone: bool) -> None:
        _, envelope = self._open[run.key]
        body = half.body or b""
        if is_alone:
            log.info("%s runs without its prefill half: %s", run.key.rid, half.lost)
        else:
            body = decode_body(body, half.counterpart, half.params)
        self._hands.give(run, envelope, body, envelope.stream, self._on_decode_piece)
