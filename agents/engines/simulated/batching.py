"""Continuous batching as a pure model: virtual time in, tokens out.

A step computes one token for each decoding request and, with what is left of the batch's token budget, prefill of the
others in chunks, in order of arrival. The step that ends a prompt's prefill also makes its first token. A request is
admitted when a slot and KV room for its whole prompt and answer are free (so nothing is ever preempted), first come
first served. The same calls with the same times give the same results.

With `leaps`, steps that only decode and that nobody can notice are one: see `BatchingModel`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from matrixinfer.agents.engines.simulated.leaps import Pace
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache


@dataclass(frozen=True)
class Speed:
    """The cost model. A step takes its prefill time plus, if anything decodes, its decode time."""

    prefill_tokens_per_s: float = 0.0
    decode_step_s: float = 0.0
    decode_step_per_request_s: float = 0.0
    decode_step_per_context_token_s: float = 0.0

    def step_s(self, prefill_tokens: int, decoding: int, context_tokens: int) -> float:
        """Seconds for one step; a prefill speed of 0 means that prefill takes no time."""
        prefill_s = prefill_tokens / self.prefill_tokens_per_s if self.prefill_tokens_per_s else 0.0
        if not decoding:
            return prefill_s
        return (
            prefill_s
            + self.decode_step_s
            + self.decode_step_per_request_s * decoding
            + self.decode_step_per_context_token_s * context_tokens
        )


@dataclass(eq=False, slots=True)
class Request:
    """One generation: `blocks` are the chained hashes of the prompt's whole blocks. The rest is the model's own.

    `received_tokens` of the prompt were computed elsewhere, and are here. One that `lingers` keeps its room when it is
    done, until `let_go`: another engine fetches what was computed.
    """

    key: str
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[bytes, ...] = ()
    received_tokens: int = 0
    lingers: bool = False
    cached_tokens: int = 0
    prefilled_tokens: int = 0
    produced_tokens: int = 0
    held: tuple[bytes, ...] = ()
    private_tokens: int = 0

    @property
    def context_tokens(self) -> int:
        return self.prefilled_tokens + self.produced_tokens

    @property
    def is_done(self) -> bool:
        return self.produced_tokens >= self.output_tokens


@dataclass
class _Step:
    """What is being computed: prefill chunks, and the decoding requests as a copy, since aborts come in between.

    A leap has `count` steps, of which `pace` tells the times; it has no chunks.
    """

    began_at: float
    ends_at: float
    pace: Pace
    chunks: list[tuple[Request, int]] = field(default_factory=list)
    decoding: list[Request] = field(default_factory=list)
    count: int = 1


class BatchingModel:
    """Call `submit` and `abort` at will, and `advance` at or after `next_at()`.

    With `leaps`, the steps up to the next end of a request are one `advance` while nobody prefills and nobody who waits
    can be admitted (room and slots change only when somebody leaves). What comes or is aborted in between ends the leap
    with the step under way, so times, tokens and cache are those of single steps; only the caller sees fewer of them.
    """

    def __init__(
        self, slots: int, max_batch_tokens: int, speed: Speed, cache: PrefixCache, *, leaps: bool = False
    ) -> None:
        self.slots = slots
        self.cache = cache
        self._leaps = leaps
        self._max_batch_tokens = max_batch_tokens
        self._speed = speed
        self._waiting: deque[Request] = deque()
        self._prefilling: list[Request] = []
        self._decoding: list[Request] = []
        self._context_tokens = 0
        self._gone: set[Request] = set()
        self._step: _Step | None = None

    @property
    def running_count(self) -> int:
        return len(self._prefilling) + len(self._decoding)

    @property
    def waiting_count(self) -> int:
        """How many have no slot yet."""
        return len(self._waiting)

    @property
    def running_tokens(self) -> int:
        """Tokens of context of what is in the batch; in a leap, as of the last `catch_up`."""
        return self._context_tokens + sum(request.context_tokens for request in self._prefilling)

    @property
    def waiting_tokens(self) -> int:
        """Prompt tokens that are still to be prefilled."""
        left = sum(request.prompt_tokens - request.prefilled_tokens for request in self._prefilling)
        return left + sum(request.prompt_tokens for request in self._waiting)

    def can_ever_fit(self, request: Request) -> bool:
        """False for one that needs more KV room than there is at all."""
        return request.prompt_tokens + request.output_tokens <= self.cache.capacity_tokens

    def submit(self, request: Request, now: float) -> None:
        """Queue it; `now` begins a step if none is under way. The caller has asked `can_ever_fit`."""
        self._waiting.append(request)
        if self._step is None:
            self._begin(now)
        elif len(self._waiting) == 1 and self.running_count < self.slots:
            self._cut(now)

    def abort(self, request: Request, now: float) -> None:
        """Take a request out wherever it is, and free its slot and room at once; nothing for one that is done."""
        if request.is_done:
            return
        self._cut(now)
        if request in self._waiting:
            self._waiting.remove(request)
            return
        if request in self._decoding:
            self._decoding.remove(request)
            self._context_tokens -= request.context_tokens
        else:
            self._prefilling.remove(request)
        if self._step is not None:
            self._gone.add(request)
        self.cache.release(request.held, request.private_tokens)

    def let_go(self, request: Request, now: float) -> None:
        """Free the room of a request that is done and lingered."""
        self.cache.release(request.held, request.private_tokens)
        if self._step is not None:
            self._cut(now)
        elif self._waiting:
            self._begin(now)

    def catch_up(self, now: float) -> None:
        """Count the steps of a leap that are over by `now`; the rest of it goes on."""
        step = self._step
        if step is None or step.count == 1:
            return
        over = step.pace.steps_within(now - step.began_at, step.count - 1)
        step.began_at += step.pace.duration_s(over)
        step.pace = step.pace.after(over)
        step.count -= over
        self._context_tokens += len(step.decoding) * over
        for request in step.decoding:
            request.produced_tokens += over

    def next_at(self) -> float | None:
        """When the step under way ends; None when there is nothing to do."""
        return self._step.ends_at if self._step is not None else None

    def advance(self, now: float) -> list[Request]:
        """End the step (or leap) under way if it is over, and begin the next one at its end. One step at most.

        Returns the requests that got a token (in a leap: tokens), each once, in order; those with `is_done` have left,
        and one with its first token is at the end of the list.
        """
        step = self._step
        if step is None or step.ends_at > now:
            return []
        produced = self._finish(step)
        self._begin(step.ends_at)
        return produced

    def _cut(self, now: float) -> None:
        """Let a leap end with the step that is under way."""
        step = self._step
        if step is not None and step.count > 1:
            self.catch_up(now)
            step.count = 1
            step.ends_at = step.began_at + step.pace.first_s

    def _finish(self, step: _Step) -> list[Request]:
        gone, count = self._gone, step.count
        produced = [request for request in step.decoding if request not in gone] if gone else step.decoding
        self._context_tokens += len(produced) * count
        prefilled = [request for request, tokens in step.chunks if self._take_chunk(request, tokens)]
        for request in prefilled:
            self._prefilling.remove(request)
            self._decoding.append(request)
            self._context_tokens += request.prompt_tokens + 1
        produced = produced + prefilled
        any_done = False
        for request in produced:
            request.produced_tokens += count
            any_done = any_done or request.produced_tokens >= request.output_tokens
        if any_done:
            self._leave([request for request in produced if request.is_done])
        gone.clear()
        return produced

    def _take_chunk(self, request: Request, tokens: int) -> bool:
        """Count a chunk; True when the prompt is complete, and then its blocks can be found by others."""
        if request in self._gone:
            return False
        request.prefilled_tokens += tokens
        if request.prefilled_tokens < request.prompt_tokens:
            return False
        fresh = request.blocks[len(request.held) :]
        self.cache.publish(fresh)
        request.held = request.blocks
        request.private_tokens -= len(fresh) * self.cache.block_tokens
        return True

    def _leave(self, done: list[Request]) -> None:
        for request in done:
            self._context_tokens -= request.context_tokens
            if not request.lingers:
                self.cache.release(request.held, request.private_tokens)
        self._decoding = [request for request in self._decoding if not request.is_done]

    def _begin(self, now: float) -> None:
        self._admit()
        decoding = self._decoding.copy()
        chunks = self._chunks(self._max_batch_tokens - len(decoding)) if self._prefilling else []
        if not chunks and not decoding:
            self._step = None
            return
        prefill_tokens = sum(tokens for _, tokens in chunks)
        first_s = self._speed.step_s(prefill_tokens, len(decoding), self._context_tokens)
        pace = Pace(first_s, self._speed.decode_step_per_context_token_s * len(decoding))
        count = 1
        if self._leaps and not chunks:
            count = min([request.output_tokens - request.produced_tokens for request in decoding])
        self._step = _Step(now, now + pace.duration_s(count), pace, chunks, decoding, count)

    def _chunks(self, budget: int) -> list[tuple[Request, int]]:
        chunks = []
        for request in self._prefilling:
            if budget <= 0:
                break
            tokens = min(budget, request.prompt_tokens - request.prefilled_tokens)
            chunks.append((request, tokens))
            budget -= tokens
        return chunks

    def _admit(self) -> None:
        while self._waiting and self.running_count < self.slots:
            request = self._waiting[0]
            # The last token is always computed, since its output is the first token of the answer.
            limit = (request.prompt_tokens - 1) // self.cache.block_tokens
            hit = request.blocks[: self.cache.hit(request.blocks[:limit])]
            cached_tokens = len(hit) * self.cache.block_tokens
            private_tokens = request.prompt_tokens + request.output_tokens - cached_tokens
            if not self.cache.reserve(hit, private_tokens):
                return
            self._waiting.popleft()
            request.held, request.private_tokens = hit, private_tokens
            request.cached_tokens = cached_tokens
            request.prefilled_tokens = max(cached_tokens, min(request.received_tokens, request.prompt_tokens - 1))
            self._prefilling.append(request)
