"""The one table of policies. What `default` is, is decided in `_default` and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matrixinfer.bus.contracts.profile import Profile
from matrixinfer.handlers.dispatch.cache_index.sent_prompts import SentPrompts
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.scheduling.port import Knowledge
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN
from matrixinfer.handlers.dispatch.scheduling.runtime import Surroundings
from matrixinfer.simulate.baselines import kthena_prefix
from matrixinfer.simulate.baselines.bounded_hash import BoundedHash
from matrixinfer.simulate.baselines.least_requests import LeastRequests
from matrixinfer.simulate.baselines.llmd_sticky import LlmdSticky
from matrixinfer.simulate.baselines.random_choice import RandomChoice
from matrixinfer.simulate.baselines.round_robin import RoundRobin
from matrixinfer.simulate.baselines.sglang_cache_aware import SglangCacheAware
from matrixinfer.simulate.errors import BadChoice
from matrixinfer.simulate.immediate import Balancer, Gateway, Immediate
from matrixinfer.simulate.paired_immediate import PairedImmediate
from matrixinfer.simulate.platform import Platform
from matrixinfer.simulate.pods import SimulatedPod
from matrixinfer.simulate.port import Policy

logger = logging.getLogger("matrixinfer.simulate.policies")

DEFAULT = "default"
"""The name of ours, as users get it without a word of configuration."""


@dataclass(frozen=True)
class Setting:
    """What a policy is made for. Each run has its own pods and its own chance."""

    pods: Sequence[SimulatedPod]
    rng: Rng
    patience_s: float | None = None
    slo_tpot_s: float = 0.05


def _still() -> float:
    """No clock: what a decision costs, `make bench` tells."""
    return 0.0


Creator = Callable[[Setting], Policy]


def _default(setting: Setting) -> Policy:
    return _ours(setting, ToldCaches(pace_s=0.0))


def _default_approximate(setting: Setting) -> Policy:
    """The default where engines do not tell what they have cached."""
    return _ours(setting, None)


def _default_bounded(setting: Setting) -> Policy:
    """The default of a ModelServer that bounds the time per output token (`dispatch.maxTpot`) at the objective."""
    return _ours(setting, ToldCaches(pace_s=0.0), setting.slo_tpot_s)


def _ours(setting: Setting, caches: ToldCaches | None, max_tpot_s: float = 0.0) -> Policy:
    knowledge = Knowledge(exact=caches, approximate=SentPrompts())
    surroundings = Surroundings(_still, logger.warning, knowledge)
    scheduler = compile_profile(Profile(), BUILT_IN, surroundings)
    return Platform(
        setting.pods, FairQueue(), scheduler, setting.rng, setting.patience_s, caches=caches, max_tpot_s=max_tpot_s
    )


def _immediate(create: Callable[[Gateway], Balancer]) -> Creator:
    def make(setting: Setting) -> Policy:
        prefill = [pod for pod in setting.pods if pod.role == "prefill"]
        answering = [pod for pod in setting.pods if pod.role != "prefill"]

        def behind(pods: Sequence[SimulatedPod]) -> Immediate:
            gateway = Gateway(pods, [0] * len(pods), setting.rng)
            return Immediate(gateway, create(gateway))

        return PairedImmediate(behind(prefill), behind(answering)) if prefill else behind(answering)

    return make


POLICIES: dict[str, Creator] = {
    DEFAULT: _default,
    "default-approximate": _default_approximate,
    "default-max-tpot": _default_bounded,
    "random": _immediate(RandomChoice),
    "round-robin": _immediate(RoundRobin),
    "least-requests": _immediate(LeastRequests),
    "kthena-default": _immediate(kthena_prefix.default_profile),
    "kthena-kv-aware": _immediate(kthena_prefix.kv_aware_profile),
    "sglang-cache-aware": _immediate(SglangCacheAware),
    "bounded-hash": _immediate(BoundedHash),
    "llm-d-sticky": _immediate(LlmdSticky),
}


def chosen(compare: str) -> list[str]:
    """The names in a list with commas, each once; `all` is every one. Raises BadChoice for an unknown one."""
    names = [name.strip() for name in compare.split(",") if name.strip()]
    if names == ["all"]:
        return list(POLICIES)
    unknown = [name for name in names if name not in POLICIES]
    if unknown or not names:
        raise BadChoice(
            f"policy {', '.join(unknown) or repr(compare)} is not known; known are: all, {', '.join(POLICIES)}"
        )
    return list(dict.fromkeys(names))
