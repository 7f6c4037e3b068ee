"""What became of one request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from matrixinfer.agents.engines.simulated.batching import Request
from matrixinfer.simulate.workload import Arrival

End = Literal["", "finished", "refused", "cancelled"]


@dataclass(eq=False, slots=True)
class Life:
    """Times are virtual seconds, nan as long as it did not happen. `sent_at` is later than `arrival.at` in a closed
    loop only. `pod` is the index of the pod that runs it, -1 before. On a pair it is the one that decodes; `prefill` is
    then what the other one, `prefill_pod`, computes or has computed."""

    arrival: Arrival
    sent_at: float = math.nan
    first_token_at: float = math.nan
    ended_at: float = math.nan
    pod: int = -1
    request: Request | None = None
    end: End = ""
    prefill_pod: int = -1
    prefill: Request | None = None

    @property
    def ttft_s(self) -> float:
        return self.first_token_at - self.sent_at

    @property
    def tpot_s(self) -> float:
        """Mean time between two tokens; nan for an answer of one token."""
        later = self.arrival.output_tokens - 1
        return (self.ended_at - self.first_token_at) / later if later else math.nan

    @property
    def cached_tokens(self) -> int:
        """Of the prompt, at the pod that computed the rest of it."""
        computed = self.prefill or self.request
        return computed.cached_tokens if computed is not None else 0
