"""What dispatch decided and why: one record a placement, what became of it, and what was never placed; many records a
message. A record holds what is needed to decide again: `handlers.dispatch.hindsight` does."""

from __future__ import annotations

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION
from matrixinfer.bus.contracts.load import Finished


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """With a `prefill_pod` it is a pair, and `pod` decodes; its `scores` are the seconds that make up its cost."""

    pod: str
    score: float
    scores: dict[str, float] = {}
    prefill_pod: str = ""


class PodSight(msgspec.Struct, frozen=True, array_like=True):
    """A pod as decisions saw it, as far as it seldom changes: one for many decisions of a batch.

    A first token behind `tokens` of prefill was expected after `fixed_s + per_token_s * tokens`. `measured_at` is by
    the clock of `Inputs.now`. The rest is as in `Snapshot` and `PoolPod`.
    """

    pod: str
    slots: int
    kv_capacity_tokens: int
    kv_usage: float
    ttft_s: float
    tpot_s: float
    measured_at: float
    fixed_s: float
    per_token_s: float
    role: str = "server"
    pd_group: str = ""
    topology: list[str] = []


class Inputs(msgspec.Struct, frozen=True, array_like=True):
    """What the built-in plug-ins read, in columns. They go by the decision's candidates, in their order; with
    `is_complete` the pods that a filter dropped follow, and no candidate is missing.

    `sights` are indices into the batch's. `used` counts slots, `prefill_tokens` and `kv_tokens` are those in flight,
    of prefill what is left by prediction. `waiting` counts requests without a first token (empty: not recorded).
    Of the prompt `approximate_tokens` were sent there before (empty: none anywhere) and `exact_tokens` are cached by
    the engine's word (empty: no engine tells). `adapters`, for a request with one: is it loaded, how many are, is it on
    its way, how many are.

    `now` is the dispatcher's monotonic clock. `everyone` counts the pods that had room, and `everyone_used` their used
    slots (-1: not counted).
    """

    now: float
    everyone: int
    everyone_used: int
    sights: list[int]
    used: list[int]
    prefill_tokens: list[int]
    kv_tokens: list[int]
    approximate_tokens: list[int] = []
    exact_tokens: list[int | None] = []
    adapters: list[tuple[bool, int, bool, int]] = []
    is_complete: bool = False
    waiting: list[int] = []


class Fairness(msgspec.Struct, frozen=True, array_like=True):
    """What the tenant had had when it was its request's turn, in weighted tokens; `least`: whoever had least then."""

    counter: float
    least: float
    tenants: int


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """`at` is the dispatcher's wall clock in unix seconds; `queued_s` the time since the request was stored.

    `output_tokens` and `cached_tokens` are what was expected of the answer and of the chosen pod. `session` is a
    digest, `first_block` the hash of the prompt's first block. `waiting` requests stayed in the queue. With a
    `prefill_pod`, `pod` only decodes.
    """

    rid: str
    attempt: int
    hop: int
    tenant: str
    pod: str
    boot: str
    at: float
    queued_s: float
    prompt_tokens: int
    candidates: list[Candidate]
    policy: str
    output_tokens: int = 0
    cached_tokens: int = 0
    priority: int = 0
    adapter: str = ""
    session: str = ""
    first_block: bytes = b""
    near: list[str] = []
    waiting: int = 0
    fairness: Fairness | None = None
    inputs: Inputs | None = None
    prefill_pod: str = ""


class FirstToken(msgspec.Struct, frozen=True, array_like=True):
    """A placed request started, `ttft_s` seconds after it was stored, as dispatch heard of it."""

    rid: str
    attempt: int
    hop: int
    pod: str
    ttft_s: float


class Ending(msgspec.Struct, frozen=True, array_like=True):
    """The end of a hop, in its agent's words: the real cached tokens and the time to the first token at the pod."""

    pod: str
    finished: Finished


class Rejection(msgspec.Struct, frozen=True, array_like=True):
    """A request that left without a first token: refused, expired, poison, or its client is gone (499)."""

    rid: str
    attempt: int
    hop: int
    tenant: str
    at: float
    waited_s: float
    status: int
    reason: str


class DecisionBatch(msgspec.Struct, frozen=True, array_like=True):
    namespace: str
    modelserver: str
    epoch: int
    decisions: list[Decision]
    version: int = CONTRACT_VERSION
    shard: int = 0
    sights: list[PodSight] = []
    first_tokens: list[FirstToken] = []
    endings: list[Ending] = []
    rejections: list[Rejection] = []
