"""A request in the dispatcher's hands: from its delivery out of REQUESTS until it started, ended or was refused."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from matrixinfer.bus.contracts.envelope import Phase
from matrixinfer.bus.contracts.load import WorkKey

RequestKey = tuple[str, int]
"""(rid, attempt)"""


class Held(Protocol):
    """The stored message behind a request. Deciding modules only carry it; the shell acknowledges it."""

    subject: str
    data: bytes
    message_id: str

    async def ack(self) -> None: ...


class PrefillHalf(NamedTuple):
    """Where the prompt is computed while another pod waits to decode it. `room` is its number at the prefill engine."""

    pod: str
    boot: str
    work: WorkKey
    room: int = 0


class Request(msgspec.Struct, eq=False, kw_only=True):
    """Queued while `work` is None, else placed on `pod`. Times are monotonic seconds.

    Placed on a pair, `pod` is the one that decodes, and `prefill` the other half until that has ended: well at
    `prefilled_at` on `prefilled_by`, or not. `lost_handovers` counts the pairs of which the prefill half failed.

    `order` is its place among all requests of the pool; `since` is when its gateway stored it; `reign` is the epoch
    under which `held` was delivered. `hop` is the last one used; hops of this process begin above `hop_floor`.

    `max_tokens` is the client's bound on the output (0: none), `output_tokens` what is expected of it, `cached_tokens`
    what the pod it is placed on is expected to have of its prompt. `block_hashes` holds 8 bytes for each block, which
    is of tokens where the prompt is `tokenized`, else of bytes. `near` names the places where it had best run, from the
    widest to the narrowest: empty where that does not matter.
    `blocked_since` is when it was first found to fit into no pod's cache; 0 when it was not. One that `is_silent` gets
    its answer in one piece.
    """

    key: RequestKey
    tenant: str
    gateway: str
    prompt_tokens: int
    size_bytes: int
    order: int
    since: float
    deadline: float
    held: Held
    reign: int
    priority: int = 0
    session: str = ""
    adapter: str = ""
    max_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    block_hashes: bytes = b""
    near: tuple[str, ...] = ()
    hop_floor: int = 0
    hop: int = 0
    deaths: int = 0
    silent_hops: int = 0
    avoid: str = ""
    pod: str = ""
    boot: str = ""
    work: WorkKey | None = None
    placed_at: float = 0.0
    placed_epoch: int = 0
    blocked_since: float = 0.0
    is_silent: bool = False
    prefill: PrefillHalf | None = None
    prefilled_at: float = 0.0
    prefilled_by: str = ""
    lost_handovers: int = 0
    tokenized: bool = False

    @property
    def kv_tokens(self) -> int:
        """Room that it is expected to take in a KV cache at its end."""
        return self.prompt_tokens + self.output_tokens

    @property
    def phase(self) -> str:
        """Of the work that answers."""
        return self.work.phase if self.work is not None else "whole"

    def next_work(self, phase: Phase = "whole") -> WorkKey:
        """The key of the next hop."""
        rid, attempt = self.key
        return WorkKey(rid, attempt, max(self.hop, self.hop_floor) + 1, phase)

    def places(self) -> list[tuple[str, WorkKey]]:
        """Who has it or is going to: pod and work, of both halves."""
        halves = [(self.pod, self.work)] if self.work is not None else []
        return [*halves, (self.prefill.pod, self.prefill.work)] if self.prefill is not None else halves

    def put_on(self, pod: str, boot: str, work: WorkKey, epoch: int, now: float) -> None:
        self.pod, self.boot, self.work, self.hop = pod, boot, work, work.hop
        self.placed_epoch, self.placed_at = epoch, now
        self.blocked_since = 0.0
        self.prefilled_by = ""

    def take_off(self) -> None:
        """Back to being queued; `pod` and `boot` keep telling where it was last."""
        self.work = self.prefill = None
