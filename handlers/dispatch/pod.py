"""What dispatch knows of one pod: by its own reports, and by what was placed on it since."""

from __future__ import annotations

import math
from collections.abc import Iterable

from matrixinfer.bus.contracts.load import Finished, Snapshot, WorkKey
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.decode_model import DecodeGuess, DecodeModel
from matrixinfer.handlers.dispatch.footprints import Footprints, Wait
from matrixinfer.handlers.dispatch.learned_line import Above
from matrixinfer.handlers.dispatch.prefill_model import Guess, PrefillModel
from matrixinfer.handlers.dispatch.request import Request, RequestKey

_FORMER_BOOTS = 8

_NOTHING_TOLD = Snapshot(0)

_TOO_FAST = 4.0
"""Times faster than predicted: then the tokens ahead were rather counted badly than computed in so little time."""


class Pod:
    """`reported` is the work that it says it has; `unreported` what was placed and is not heard of yet, with the time.

    `placed` are this process's requests there that have not started, `prefilling` those of which it has the prefill
    half. `load` is the share of the slots that is `used`.
    A pod is *introduced* when this boot answered a Dump of the reign's epoch: from then on it refuses a predecessor's
    work.

    `told` is its last snapshot, as it came; `adapters` are those of it, and its `ttft_s` and `tpot_s` had a new sample
    at `measured_at`. On top of it lies what is predicted: `footprints` the tokens of its work, `prefill` how long a
    first token takes, `used`, `free` and `load` its slots. Where the time per output token is bounded, `decode`
    predicts it, and `free` is what is left of the `most_requests` that keep the bound.
    `revision` grows when what SERVING or a snapshot says of it may have changed.
    """

    __slots__ = (
        "_above",
        "_above_decode",
        "_doubted",
        "adapters",
        "asked_at",
        "boot",
        "closed_until",
        "decode",
        "draining",
        "footprints",
        "former_boots",
        "free",
        "heard_at",
        "introduced",
        "is_doubted",
        "listed",
        "load",
        "measured_at",
        "missed_events",
        "most_requests",
        "name",
        "pd_group",
        "placed",
        "prefill",
        "prefilling",
        "reported",
        "retiring",
        "revision",
        "role",
        "sequence",
        "silent",
        "silent_at",
        "told",
        "topology",
        "unreported",
        "used",
        "was_open",
    )

    def __init__(self, name: str, above: Above | None = None, above_decode: Above | None = None) -> None:
        """`above` are the pool's models of prefill and of decoding, from which the pod's own start with every boot."""
        self.name = name
        self.role, self.pd_group = "server", ""
        self.topology: tuple[str, ...] = ()
        self._above = above or Guess()
        self._above_decode = above_decode or DecodeGuess()
        self.former_boots: list[str] = []
        self.listed = self.retiring = False
        self.revision = 0
        self.silent_at = self.asked_at = -math.inf
        self.placed: dict[RequestKey, Request] = {}
        self.prefilling: dict[RequestKey, Request] = {}
        self._begin("")

    def _begin(self, boot: str) -> None:
        self.boot = boot
        self.revision += 1
        self.told = _NOTHING_TOLD
        self.sequence = self.used = self.free = 0
        self.load = 1.0
        self.reported: set[WorkKey] = set()
        self.unreported: dict[WorkKey, float] = {}
        self.was_open = False
        """Did this boot ever have room?"""
        self.introduced = self.draining = self.silent = self.missed_events = False
        self.heard_at = self.measured_at = -math.inf
        self.closed_until = 0.0
        self.is_doubted = False
        """Closed until it is heard."""
        self.footprints = Footprints()
        self.prefill = PrefillModel(self._above)
        self.decode = DecodeModel(self._above_decode)
        self.most_requests = math.inf
        self._doubted: dict[WorkKey, float] = {}  # running work, and the seconds that its first token took
        self.adapters: frozenset[str] = frozenset()

    def describe(self, listed: PoolPod) -> None:
        """What SERVING says of it."""
        self.listed, self.retiring = True, listed.draining
        self.revision += 1
        self.role, self.pd_group, self.topology = listed.role, listed.pd_group, tuple(listed.topology)

    def meet(self, boot: str) -> bool:
        """The pod speaks under `boot`; True when it had another one before, so an agent died."""
        if boot == self.boot:
            return False
        former = self.boot
        self._begin(boot)
        if former:
            self.former_boots = [*self.former_boots[1 - _FORMER_BOOTS :], former]
        return bool(former)

    def follow(self, started: Iterable[WorkKey], finished: Iterable[Finished], now: float) -> list[Wait]:
        """Take news of work in; returns the waits for first tokens that were learned from it.

        One that came too fast teaches nothing before its end: then the engine tells what it computed for it.
        """
        waits = []
        for work in started:
            self.unreported.pop(work, None)
            self.reported.add(work)
            wait = self.footprints.start(work, now)
            if wait is None or work.phase == "decode":  # which waits for another pod's prefill
                continue
            if self.prefill.seconds(wait.tokens, now) > _TOO_FAST * wait.seconds:
                self._doubted[work] = wait.seconds
            else:
                waits.append(wait)
        for end in finished:
            usage, seconds = end.usage, self._doubted.pop(end.key, None)
            if seconds is not None and usage.prompt_tokens:
                waits.append(Wait(usage.prompt_tokens - usage.cached_tokens, seconds))
            self.unreported.pop(end.key, None)
            self.reported.discard(end.key)
            self.footprints.end(end.key)
        for wait in waits:
            self.prefill.observe(wait.tokens, wait.seconds, now)
        return waits

    def take_off(self, work: WorkKey) -> bool:
        """The pod will never report this work; False when it is not awaited."""
        if self.unreported.pop(work, None) is None:
            return False
        self.footprints.end(work)
        return True

    def learn(self, snapshot: Snapshot, now: float) -> None:
        """Take over the whole state; what it does not hold yet stays unreported."""
        self.revision += 1
        before, self.told = self.told, snapshot
        if (snapshot.ttft_s, snapshot.tpot_s) != (before.ttft_s, before.tpot_s):  # else there was no new sample
            self.measured_at = now
        self.adapters = frozenset(snapshot.adapters)
        self.reported = {*snapshot.running, *snapshot.waiting}
        if self._doubted:
            self._doubted = {work: seconds for work, seconds in self._doubted.items() if work in self.reported}
        if self.unreported:
            for work in self.reported:
                self.unreported.pop(work, None)
        self.footprints.agree(snapshot, self.unreported)

    def measure(self) -> None:
        """Compute `used`, `free` and `load` anew."""
        self.used = used = len(self.reported) + len(self.unreported)
        slots = self.told.slots
        self.free = (slots if slots <= self.most_requests else int(self.most_requests)) - used
        self.load = used / slots if slots else 1.0

    def can_hold(self, kv_tokens: int) -> bool:
        """Do so many tokens more fit into its KV cache, by prediction? An empty pod takes any request: whether it fits
        at all is the engine's to say."""
        taken, capacity_tokens = self.footprints.kv_tokens, self.told.kv_capacity_tokens
        return not (capacity_tokens and taken) or taken + kv_tokens <= capacity_tokens

    def room(self) -> float:
        """Tokens that fit into its KV cache beside what it has; without bound where nothing is known or it is empty."""
        taken, capacity_tokens = self.footprints.kv_tokens, self.told.kv_capacity_tokens
        return capacity_tokens - taken if capacity_tokens and taken else math.inf

    def prefill_ahead_s(self, now: float) -> float:
        """How long it computes prompts before it comes to another one, of those that are known not to be done."""
        footprints = self.footprints
        if footprints.prefill_tokens <= footprints.silent_tokens:
            return 0.0
        _, per_token_s = self.prefill.line(now)
        return per_token_s * (footprints.ahead_tokens(now, per_token_s) - footprints.silent_tokens)

    def is_open(self) -> bool:
        """May it get a request now?"""
        return (
            self.free > 0
            and self.can_hold(0)
            and self.listed
            and self.introduced
            and not (self.silent or self.draining or self.retiring)
            and self.closed_until == 0.0
        )

    def is_serving(self) -> bool:
        """Ready as operators count it: it would get requests if it had room."""
        return self.listed and self.introduced and not (self.silent or self.draining or self.retiring)

    def is_steady(self, now: float, after_s: float) -> bool:
        return now - self.silent_at >= after_s

    def is_doubtful(self, now: float, verify_after_s: float) -> bool:
        """Should it be asked what it has? Not while silent: then other questions are asked."""
        if not self.boot or self.silent:
            return False
        if not self.introduced or self.missed_events:
            return True
        return bool(self.unreported) and now - next(iter(self.unreported.values())) >= verify_after_s
