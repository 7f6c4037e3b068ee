"""How long answers get: what a request is charged before its answer is known."""

from __future__ import annotations

from collections import OrderedDict

_MEMORY = 64
"""Answers that weigh in a mean; older ones fade."""

_TRUST = 8
"""Answers after which a tenant's own mean weighs as much as the pool's."""


class Mean:
    __slots__ = ("answers", "tokens")

    def __init__(self, tokens: float = 0.0, answers: int = 0) -> None:
        self.tokens = tokens
        self.answers = answers

    def learn(self, tokens: float) -> None:
        """The first ones all count the same, later ones decay geometrically."""
        self.answers = min(self.answers + 1, _MEMORY)
        self.tokens += (tokens - self.tokens) / self.answers


class OutputLengths:
    """Decayed means by tenant and of the pool; a tenant of few answers is taken for an average one."""

    def __init__(self, expected: float, tenants: int) -> None:
        self._pool = Mean(expected)
        self._tenants: OrderedDict[str, Mean] = OrderedDict()
        self._most = tenants

    def learn(self, tenant: str, output_tokens: int) -> None:
        self._pool.learn(output_tokens)
        mean = self._tenants.pop(tenant, None) or Mean()
        mean.learn(output_tokens)
        self._tenants[tenant] = mean
        if len(self._tenants) > self._most:
            self._tenants.popitem(last=False)

    def expect(self, tenant: str, max_tokens: int) -> float:
        """Output tokens to expect; at most `max_tokens`, where 0 is no bound, and at least one."""
        tokens, own = self._pool.tokens, self._tenants.get(tenant)
        if own is not None:
            tokens += (own.tokens - tokens) * own.answers / (own.answers + _TRUST)
        return max(1.0, min(tokens, max_tokens) if max_tokens > 0 else tokens)

    def pool_mean(self) -> float:
        """0 when no answer was seen."""
        return self._pool.tokens if self._pool.answers else 0.0

    def tenant_means(self, most: int) -> dict[str, float]:
        """Of those with the latest answers."""
        return {tenant: self._tenants[tenant].tokens for tenant in list(self._tenants)[-most:]}

    def resume(self, pool: float, tenants: dict[str, float]) -> None:
        """Go on with a predecessor's means, as if each came from a few answers; what was learned here stays."""
        if pool and not self._pool.answers:
            self._pool = Mean(pool, _TRUST)
        for tenant, tokens in tenants.items():
            self._tenants.setdefault(tenant, Mean(tokens, _TRUST))
