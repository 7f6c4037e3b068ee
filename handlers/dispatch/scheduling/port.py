"""What a scheduler is made of, and what it promises to the queue that asks it.

A profile is filters → scorers, each with a weight → one picker. The runtime (`runtime.py`) calls them in this order,
bounds what they say and times them; a plug-in does neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple, Protocol, runtime_checkable

from matrixinfer.bus.contracts.decision import Candidate, PodSight
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request


class Ask(NamedTuple):
    """One question: which of `pods` for `request`. The sequences of tokens are parallel to `pods`.

    `exact_tokens` of the prompt are in the pod's cache by the engine's own events, or None where it sends none;
    `approximate_tokens` by what was sent there before; `cached_tokens` is the better knowledge of the two. None is more
    than the prompt has. `everyone` holds all pods that had room, of which `pods` are the candidates.
    """

    request: Request
    pods: Sequence[Pod]
    cached_tokens: Sequence[int]
    exact_tokens: Sequence[int | None]
    approximate_tokens: Sequence[int]
    now: float
    everyone: Sequence[Pod]

    def only(self, some: Set[Pod]) -> Ask:
        """The same question about some of the pods."""
        at = [index for index, pod in enumerate(self.pods) if pod in some]
        return self._replace(
            pods=[self.pods[index] for index in at],
            cached_tokens=[self.cached_tokens[index] for index in at],
            exact_tokens=[self.exact_tokens[index] for index in at],
            approximate_tokens=[self.approximate_tokens[index] for index in at],
        )


class Filter(Protocol):
    """Says who comes into question at all."""

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        """Those of `pods` that may get `request`, in the same order; none when it has to wait."""
        ...


class Scorer(Protocol):
    """Says how good each pod is, from one point of view."""

    def score(self, ask: Ask) -> Sequence[float]:
        """For each pod a number in [0, 1], more is better. The same question gives the same answer."""
        ...


class Picker(Protocol):
    """Makes one choice out of the weighted sums."""

    def pick(self, ask: Ask, totals: Sequence[float], rng: Rng) -> int:
        """The index of one pod; `totals` are weighted means of the scores, in [0, 1]."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A plug-in that wants to know what became of its advice: of either kind, beside its own method."""

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        """`request` goes to `pod`."""
        ...


@runtime_checkable
class Advocate(Protocol):
    """A plug-in that knows pods which must be among the candidates when there are too many to look at all."""

    def wanted(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[str]:
        """A few names, the most wanted first; they need not be among `pods`."""
        ...


class Prefixes(Protocol):
    """What is known of the prefixes in the pods' caches."""

    def matches(self, block_hashes: bytes, /) -> Mapping[str, float]:
        """Pod name → tokens from the prompt's beginning that its cache holds; only pods that hold some. Tokens in a
        slow tier may count less."""
        ...


class ExactPrefixes(Prefixes, Protocol):
    """As the engines tell it themselves."""

    def knows(self, pod: str) -> bool:
        """Does this pod's engine tell what its cache holds, with nothing missed, and does it come true? Only then a
        missing match means that it holds nothing. `matches` names only such pods."""
        ...

    def knows_bytes(self, pod: str) -> bool:
        """The same for prompts in byte blocks: not where the engine names its blocks by their tokens."""
        ...


class Knowledge(NamedTuple):
    """Of one pool's caches; it outlives the scheduler when the profile changes. Either one may be a Learner too: the
    approximate one lives by what it is told, and for the exact one a prompt that was just placed is as good as cached,
    though its engine cannot have told yet."""

    exact: ExactPrefixes | None = None
    approximate: Prefixes | None = None


class Seen(NamedTuple):
    """What a decision saw, for its record: `bus.contracts.decision.Inputs` with the sights instead of their indices."""

    now: float
    everyone: int
    everyone_used: int
    sights: list[PodSight]
    used: list[int]
    prefill_tokens: list[int]
    kv_tokens: list[int]
    approximate_tokens: list[int]
    exact_tokens: list[int | None]
    adapters: list[tuple[bool, int, bool, int]]
    is_complete: bool
    waiting: list[int]


class Choice(NamedTuple):
    """The chosen pod, the tokens of the prompt that it is expected to have cached, and the best candidates, best
    first, for the record; scores are in [0, 1], more is better. `seen` is what was seen of them, if anybody looked.

    With a `prefill` pod it is a pair: `pod` only decodes, and the cached tokens are those of the other one."""

    pod: Pod
    candidates: list[Candidate]
    cached_tokens: int = 0
    seen: Seen | None = None
    prefill: Pod | None = None


class Scheduler(Protocol):
    """Picks among pods that have room. Holds nothing that must outlive the process."""

    @property
    def name(self) -> str:
        """How decisions name it."""
        ...

    def holders(self, request: Request) -> Mapping[str, float]:
        """Pod → tokens of its prompt that are believed to be cached there; only pods that hold some."""
        ...

    def pick(self, request: Request, pods: Sequence[Pod], now: float, rng: Rng) -> Choice | None:
        """One of `pods`, or None when the request shall wait for a better one. `pods` is not empty. What it picks is
        placed: it may learn from its own choice."""
        ...

    def able(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        """Those of `pods` that may get one half of `request`, whatever their role is."""
        ...

    def learn(self, request: Request, pod: Pod, now: float) -> None:
        """`request`, or a half of it, goes to `pod`, which somebody else chose."""
        ...
