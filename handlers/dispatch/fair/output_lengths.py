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

    def pool_mean(self) -> tuple[float, int]:
        """Tokens, and the answers that they stand for."""
        return self._pool.tokens, self._pool.answers

    def tenant_means(self, most: int) -> dict[str, tuple[float, int]]:
        """Of those with the latest answers, these last."""
        latest = list(self._tenants.items())[-most:]
        return {tenant: (mean.tokens, mean.answers) for tenant, mean in latest}

    def resume(self, pool: tuple[float, int], tenants: dict[str, tuple[float, int]]) -> None:
        """Go on with a predecessor's means; what was learned here stays."""
        if pool[1] and not self._pool.answers:
            self._pool = Mean(*pool)
        for tenant, mean in tenants.items():
            self._tenants.setdefault(tenant, Mean(*mean))
