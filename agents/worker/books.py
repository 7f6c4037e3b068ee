"""What one agent knows: the pure pieces, and who it is, in one value that the shell's parts share."""

from __future__ import annotations

from dataclasses import dataclass

from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.ledger import Ledger
from matrixinfer.agents.worker.outbox import Outbox
from matrixinfer.agents.worker.replay import ReplayStore
from matrixinfer.agents.worker.reporter import Reporter
from matrixinfer.agents.worker.run import Run


@dataclass(frozen=True)
class Books:
    identity: Identity
    ledger: Ledger[Run]
    replay: ReplayStore
    outbox: Outbox
    reporter: Reporter


def open_books(identity: Identity, replay_bytes: int) -> Books:
    return Books(identity, Ledger(identity.boot), ReplayStore(replay_bytes), Outbox(identity), Reporter(identity))
