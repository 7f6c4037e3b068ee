"""Moves work from the queue through the engine into frames. The hot path: plain calls, no task, no timer, no await.

delivery ─ on_work ─> ledger ─> engine.generate ─ emit ─> chunk ─> replay store and outbox ─> sender

Only a body that is not in its envelope is waited for, between ledger and engine, by `bodies`; and a half of a request
waits for the other one, in `pairs`.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from matrixinfer.agents.engines.port import Engine, Job, Piece
from matrixinfer.agents.worker.bodies import Bodies
from matrixinfer.agents.worker.books import Books
from matrixinfer.agents.worker.halves import PrefillHalf
from matrixinfer.agents.worker.outbox import MAX_CHUNK_BYTES
from matrixinfer.agents.worker.pairs import OnPiece, Pairs
from matrixinfer.agents.worker.run import Run
from matrixinfer.agents.worker.sender import Sender
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Failure, Usage
from matrixinfer.bus.contracts.load import Outcome, WorkKey
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Delivery

log = logging.getLogger("matrixinfer.agents.driver")

NO_USAGE = Usage()
DEADLINE_EXCEEDED = Failure(
    504, "the request's deadline passed before its answer was complete", code="deadline_exceeded"
)
CANCELLED = Failure(499, "the request was cancelled", code="cancelled")
SHUT_DOWN = Failure(503, "the server had to stop before the answer was complete; try again", code="shutting_down")
ENGINE_REFUSED = Failure(500, "the engine could not take the request", code="engine_error")


class Driver:
    """One engine's work. Everything here runs on the loop and returns at once."""

    def __init__(self, books: Books, bus: Bus, engine: Engine, served_model: str, sender: Sender) -> None:
        self.idle = asyncio.Event()
        """Set while nothing is in hand."""
        self.idle.set()
        self.pairs = Pairs(books, bus, engine, self)
        self._bus = bus
        self._clock = bus.clock
        self._engine = engine
        self._served_model = served_model
        self._sender = sender
        self._bodies = Bodies(bus.blobs, bus.clock)
        self._ledger = books.ledger
        self._replay = books.replay
        self._outbox = books.outbox
        self._reporter = books.reporter
        self._engine_ids: set[str] = set()

    # -- from the queue
    async def on_work(self, delivery: Delivery) -> None:
        """A DeliveryHandler: take the work or refuse it."""
        try:
            envelope = decode(delivery.data, Envelope)
        except Malformed as error:
            await self._bury(delivery, error)
            return
        now = self._clock.monotonic()
        deadline_at = now + envelope.remaining_s - delivery.age_s
        key = WorkKey(envelope.rid, envelope.attempt, envelope.hop, envelope.phase)
        refusal = self._ledger.judge(key, envelope, deadline_at, now)
        if refusal is None:
            self._begin(key, envelope, deadline_at, delivery, now)
            return
        if refusal != "duplicate":
            log.info("%s is refused: %s", delivery.message_id, refusal)
            self._reporter.finished(self._ledger.refuse(key, refusal, now))
            if envelope.counterpart is not None:
                self.pairs.refuse(key, envelope, refusal, deadline_at)
        self._sender.ack(delivery)
        self._sender.credit()

    def _begin(self, key: WorkKey, envelope: Envelope, deadline_at: float, delivery: Delivery, now: float) -> None:
        gateway = envelope.gateway
        lane = self._outbox.lane(gateway, self._bus.subjects.frames(gateway), now)
        half = None if envelope.counterpart is None else self.pairs.half_of(envelope, now)
        history = None if isinstance(half, PrefillHalf) else self._replay.open(key)
        run = Run(key, now, deadline_at, delivery=delivery, lane=lane, history=history, half=half)
        if run.engine_id in self._engine_ids:  # another hop or attempt of the same request still holds its slot
            run.engine_id = f"{key.rid}-{key.attempt}-{key.hop}-{key.phase}"
        self._ledger.take(run)
        self.idle.clear()
        self._engine_ids.add(run.engine_id)
        if half is not None:
            self.pairs.take(run, envelope)
            if run.outcome is not None:
                return
        if envelope.body_ref:
            self._bodies.fetch(key, envelope.body_ref, envelope.body_bytes, partial(self._on_body, run, envelope))
        else:
            self._generate(run, envelope, envelope.body)

    def _on_body(self, run: Run, envelope: Envelope, body: bytes | Failure) -> None:
        if isinstance(body, Failure):
            self._fail(run, "failed", body)
            self._release(run, NO_USAGE)
        else:
            self._generate(run, envelope, body)

    def _generate(self, run: Run, envelope: Envelope, body: bytes) -> None:
        if run.half is None:
            self.give(run, envelope, body, envelope.stream, self.on_piece)
        else:
            self.pairs.begin(run, envelope, body)

    def give(self, run: Run, envelope: Envelope, body: bytes, stream: bool, on_piece: OnPiece) -> None:
        """Give the engine a job with this body."""
        model = envelope.model or self._served_model
        adapter, blocks = envelope.adapter, envelope.block_hashes
        tokens = envelope.prompt_tokens if envelope.tokenized else 0
        job = Job(run.engine_id, envelope.endpoint, model, stream, body, adapter, blocks, tokens)
        try:
            self._engine.generate(job, partial(on_piece, run))
        except Exception:  # the port forbids it; one request must not take the consumer with it
            log.exception("the engine raised when %s was given to it", run.delivery.message_id)
            self._fail(run, "failed", ENGINE_REFUSED)
            self._release(run, NO_USAGE)

    async def _bury(self, delivery: Delivery, error: Malformed) -> None:
        log.error("work %s cannot be read and becomes a dead letter: %s", delivery.message_id, error)
        letter = DeadLetter("WORK", delivery.subject, delivery.message_id, str(error), self._clock.now(), delivery.data)
        try:
            await self._bus.queue.bury(letter)
        except BusError as failure:  # unacknowledged: it comes again
            log.warning("the dead letter of %s could not be stored: %s", delivery.message_id, failure)
        else:
            self._sender.ack(delivery)
        self._sender.credit()

    # -- from the engine
    def on_piece(self, run: Run, piece: Piece) -> None:
        """Pass a piece on; the last one ends the work."""
        if piece.final:
            self._on_final(run, piece)
        elif run.outcome is None:
            run.output_tokens += piece.tokens
            if run.first_at is None:
                self._start(run)
                self._reporter.started(run.key)
            self._send(run, ChunkKind.DATA, piece.data, None)

    def _on_final(self, run: Run, piece: Piece) -> None:
        usage = piece.usage or Usage(output_tokens=run.output_tokens)
        if run.outcome is None and piece.failure is not None:
            self._fail(run, "failed", piece.failure)
        elif run.outcome is None:
            if run.first_at is None:
                self._start(run)
            self._settle(run, "completed")
            self._send(run, ChunkKind.END, piece.data, usage)
        self._release(run, usage)

    def _start(self, run: Run) -> None:
        run.first_at = self._clock.monotonic()
        self._ack(run)

    def _ack(self, run: Run) -> None:
        if not run.is_acked:
            run.is_acked = True
            self._sender.ack(run.delivery)

    def _send(self, run: Run, kind: ChunkKind, data: bytes, usage: Usage | None) -> None:
        if run.history is None:
            return
        if len(data) > MAX_CHUNK_BYTES:
            self._refuse_size(run, kind, len(data))
            return
        key = run.key
        chunk = Chunk(key.rid, key.attempt, key.hop, key.phase, run.next_number, kind, data, usage)
        run.next_number += 1
        self._replay.keep(run.history, chunk)
        self._outbox.add(run.lane, chunk)
        self._sender.wake()

    def _refuse_size(self, run: Run, kind: ChunkKind, size_bytes: int) -> None:
        message = f"the engine made {size_bytes} bytes at once and the bus carries {MAX_CHUNK_BYTES}: ask for less"
        self._fail(run, "failed", Failure(500, message, code="answer_too_large"))
        if kind is ChunkKind.DATA:
            self._engine.abort(run.engine_id)

    def _fail(self, run: Run, outcome: Outcome, failure: Failure | None) -> None:
        """From here on nothing but `failure` is said to the gateway."""
        self._settle(run, outcome)
        if failure is not None:
            self._send(run, ChunkKind.FAILED, encode(failure), None)

    def _settle(self, run: Run, outcome: Outcome) -> None:
        run.outcome = outcome
        if run.half is not None:
            self.pairs.settled(run)

    def _release(self, run: Run, usage: Usage) -> None:
        """The engine's slot is free."""
        now = self._clock.monotonic()
        outcome = run.outcome or "failed"
        self._engine_ids.discard(run.engine_id)
        finished = self._ledger.finish(run, outcome, usage, now)
        if run.history is not None:
            self._replay.end(run.history, now)
        self._reporter.finished(finished)
        if outcome == "completed":
            self._reporter.measure(finished, now)
        self._ack(run)
        self._sender.credit()
        if not self._ledger.in_hand:
            self.idle.set()

    # -- ending early
    def abort(self, key: WorkKey, reason: str) -> None:
        """End this work, now or when it comes.

        What has no first token yet ends without a word to the gateway: another hop may be its answer.
        """
        run = self._ledger.abort(key, self._clock.monotonic())
        if run is not None:
            log.info("%s of attempt %d, hop %d is aborted: %s", key.rid, key.attempt, key.hop, reason)
            self.end(run, "cancelled", CANCELLED if run.first_at is not None else None)

    def abandon(self, gateway: str) -> None:
        """Nobody waits for this gateway's work any more."""
        for run in self._ledger.of_gateway(gateway):
            self.end(run, "cancelled", None)

    def end_overdue(self) -> None:
        """End what is past its deadline, or past what a half of a request may take."""
        now = self._clock.monotonic()
        for run in self._ledger.overdue(now):
            self.end(run, "expired", DEADLINE_EXCEEDED)
        self.pairs.look_at_the_time(now)

    def end_all(self) -> None:
        """End everything: the process leaves. What has no first token yet is refused, and runs elsewhere."""
        for run in list(self._ledger.in_hand.values()):
            if run.first_at is None:
                self.end(run, "refused", None)
            else:
                self.end(run, "failed", SHUT_DOWN)

    def end(self, run: Run, outcome: Outcome, failure: Failure | None) -> None:
        """End it early, wherever it is; nothing for what has an outcome."""
        if run.outcome is None:
            self._fail(run, outcome, failure)
            if self._bodies.stop(run.key) or self.pairs.is_waiting(run):  # the engine has not heard of it
                self._release(run, NO_USAGE)
            else:
                self._engine.abort(run.engine_id)

    def close(self, run: Run, outcome: Outcome, failure: Failure | None) -> None:
        """It ends, and the engine does not have it (any more)."""
        self._fail(run, outcome, failure)
        self._bodies.stop(run.key)
        self._release(run, NO_USAGE)
