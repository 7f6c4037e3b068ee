"""From a record back to the question that the scheduler was asked: the request, the pods, what was cached where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matrixinfer.bus.contracts.decision import Decision, Inputs, PodSight
from matrixinfer.bus.contracts.load import Snapshot
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.footprints import Footprints
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.prefill_model import PrefillModel
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.cached import Cached
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class Expected(NamedTuple):
    """Of a request on one pod: tokens of its prompt that are cached there, the predicted time to its first token from
    the placement on, and the share of the pod's slots that was used."""

    cached_tokens: int
    ttft_s: float
    load: float = 0.0


class _NoMessage:
    """Stands for the stored message of a request that is long gone."""

    subject = message_id = ""
    data = b""

    async def ack(self) -> None:
        raise RuntimeError("a rebuilt request is only looked at")


def rebuild(decision: Decision, sights: Sequence[PodSight]) -> Ask | None:
    """What was asked; `sights` are the batch's. None for a record without inputs."""
    inputs = decision.inputs
    if inputs is None:
        return None
    request = _request(decision)
    pods = [_pod(sights[index], inputs, row, decision.adapter) for row, index in enumerate(inputs.sights)]
    return _cached(inputs, pods).ask(request, pods, inputs.now, [*pods, *_others(inputs)])


def expected(ask: Ask) -> dict[str, Expected]:
    """By the pods' names."""
    prompt_tokens, now = ask.request.prompt_tokens, ask.now
    return {
        pod.name: Expected(
            cached_tokens=cached,
            ttft_s=pod.prefill.seconds(pod.footprints.prefill_tokens + prompt_tokens - cached, now),
            load=pod.load,
        )
        for pod, cached in zip(ask.pods, ask.cached_tokens, strict=True)
    }


def _request(decision: Decision) -> Request:
    return Request(
        key=(decision.rid, decision.attempt),
        tenant=decision.tenant,
        gateway="",
        prompt_tokens=decision.prompt_tokens,
        size_bytes=0,
        order=0,
        since=0.0,
        deadline=0.0,
        held=_NoMessage(),
        reign=0,
        priority=decision.priority,
        session=decision.session,
        adapter=decision.adapter,
        output_tokens=decision.output_tokens,
        block_hashes=decision.first_block,
        near=tuple(decision.near),
    )


def _pod(sight: PodSight, inputs: Inputs, row: int, adapter: str) -> Pod:
    """As it was, as far as plug-ins look at it. It had room, so it was ready."""
    pod = Pod(sight.pod)
    pod.describe(PoolPod("", "", sight.pod, sight.role, sight.pd_group, topology=sight.topology))
    pod.introduced = True
    pod.told = Snapshot(
        sight.slots,
        kv_capacity_tokens=sight.kv_capacity_tokens,
        kv_usage=sight.kv_usage,
        ttft_s=sight.ttft_s,
        tpot_s=sight.tpot_s,
    )
    pod.measured_at, pod.used = sight.measured_at, inputs.used[row]
    pod.free = sight.slots - pod.used
    pod.load = pod.used / sight.slots if sight.slots else 1.0
    waiting = inputs.waiting[row] if inputs.waiting else 0
    pod.footprints = Footprints.told(inputs.prefill_tokens[row], inputs.kv_tokens[row], waiting)
    pod.prefill = PrefillModel.of_line(sight.fixed_s, sight.per_token_s)
    if inputs.adapters:
        _load_adapters(pod, adapter, inputs.adapters[row])
    return pod


def _load_adapters(pod: Pod, adapter: str, counts: tuple[bool, int, bool, int]) -> None:
    """As many as there were; the others' names were not recorded."""
    is_loaded, loaded, is_coming, coming = counts
    pod.adapters = frozenset([*[adapter] * is_loaded, *[f"loaded {number}" for number in range(loaded - is_loaded)]])
    names = [*[adapter] * is_coming, *[f"coming {number}" for number in range(coming - is_coming)]]
    for name in names:
        pod.placed[name, 0] = _request(Decision(name, 0, 0, "", "", "", 0.0, 0.0, 0, [], "", adapter=name))


def _cached(inputs: Inputs, pods: Sequence[Pod]) -> Cached:
    names = [pod.name for pod in pods]
    told = dict(zip(names, inputs.exact_tokens, strict=False))
    exact = {name: float(tokens) for name, tokens in told.items() if tokens is not None}
    approximate = {name: float(tokens) for name, tokens in zip(names, inputs.approximate_tokens, strict=False)}
    return Cached(exact, approximate, exact.__contains__)


def _others(inputs: Inputs) -> list[Pod]:
    """Stand for the pods that had room and were not recorded: as many, with as many used slots between them."""
    count = inputs.everyone - len(inputs.sights)
    if count <= 0:
        return []
    first, rest = Pod(""), Pod("")
    recorded = sum(inputs.used)
    if inputs.everyone_used >= 0:
        first.used = inputs.everyone_used - recorded
    else:
        first.used = round(recorded / max(1, len(inputs.used)) * count)
    return [first, *[rest] * (count - 1)]
