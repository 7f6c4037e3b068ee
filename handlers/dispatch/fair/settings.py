"""What makes one pool's fair queue fair; a ModelServer may have its own."""

from __future__ import annotations

import msgspec


class FairSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual token is the cost of one prompt token that has to be computed, for a tenant of weight 1."""

    prompt_token_cost: float = 1.0
    """Virtual tokens for a prompt token that no cache holds."""

    output_token_cost: float = 2.0
    """Virtual tokens for an output token. Twice the prompt's, as in the VTC paper: decoding computes less at once."""

    weights: dict[str, float] = {}
    """Tenant → its share beside the others, 1 when it is not named. With 2 it gets twice as much while both wait."""

    quantum_tokens: float = 16_384.0
    """Virtual tokens that a tenant may be ahead of the last one and still go first for its cached prefix. 0 turns
    locality off. Some long requests' worth: less gains no hits, more lets one tenant run away for seconds."""

    window: int = 16
    """Requests whose cached prefix is asked for in one choice: each answer costs tens of microseconds."""

    most_passes: int = 64
    """Choices in a row that locality may win; the next is the fair order's. Bounds the wait, costs 2 % of the hits."""

    most_newcomers: int = 1024
    """Tenants from idle that may be let in before one that waits. A bound for floods of new names only."""

    lowest_priority: int = -4
    """Priorities below count as this one."""

    highest_priority: int = 4
    """Priorities above count as this one."""

    ageing_s: float = 10.0
    """Seconds of waiting that lift a request by one priority: what a step of priority is worth."""

    max_waiting: int = 20_000
    """Requests that may wait; more are refused with 503."""

    max_waiting_bytes: int = 256 * 1024 * 1024
    """Their bytes, all prompts together."""

    max_tenant_waiting: int = 3_000
    """Requests of one tenant that may wait; more are refused with 429. REQUESTS holds 4,096 of a tenant, those at pods
    that have not started among them: this bound is met before, and answers with the time after which to come again."""

    max_tenant_waiting_bytes: int = 128 * 1024 * 1024
    """Their bytes. Half of all: one cannot shut out the others."""

    remembered_tenants: int = 10_000
    """Idle tenants whose counters are kept, about 300 bytes each; those nearest to being forgotten anyway go first."""

    expected_output_tokens: float = 256.0
    """Output tokens of a request while no answer of the pool has been seen."""

    def __post_init__(self) -> None:
        """Raises ValueError, which names the field: for who writes it by hand."""
        positive = ("prompt_token_cost", "output_token_cost", "ageing_s", "window", "most_passes", "most_newcomers")
        for field in positive:
            if not getattr(self, field) > 0:
                raise ValueError(f"{field}: expected a number above 0, got {getattr(self, field)}")
        for tenant, weight in self.weights.items():
            if not weight > 0:
                raise ValueError(f"weights.{tenant}: expected a number above 0, got {weight}")
        if self.quantum_tokens < 0:
            raise ValueError(f"quantum_tokens: expected 0 or more, got {self.quantum_tokens}")
        if not self.lowest_priority <= 0 <= self.highest_priority:
            bounds = f"{self.lowest_priority} and {self.highest_priority}"
            raise ValueError(f"lowest_priority, highest_priority: expected a range around 0, got {bounds}")
