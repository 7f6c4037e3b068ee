"""How the story of a request looks in the terminal, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from rich.table import Table

from matrixinfer.bus.contracts.decision import Decision, Rejection
from matrixinfer.handlers.dispatch.hindsight.rebuild import Expected, expected, rebuild
from matrixinfer.handlers.dispatch.hindsight.story import Step, Story
from matrixinfer.handlers.dispatch.hindsight.why import pair_name, why

WIDTH = 118


def explanation(story: Story) -> Iterator[str | Table]:
    """Every attempt and hop in its order, then what was never placed."""
    first = story.steps[0] if story.steps else None
    pool = f", {first.namespace}/{first.modelserver}" if first else ""
    tenant = first.decision.tenant if first else story.rejections[0].tenant
    yield f"request {story.rid} of tenant {tenant}{pool}"
    for step in story.steps:
        by_pod = expected_of(step)
        yield ""
        yield _headline(step.decision)
        yield _pairs(step.decision) if step.decision.prefill_pod else _table(step.decision, step, by_pod)
        yield why(step.decision, by_pod)
        if step.decision.prefill_pod:
            yield _prefilled(step)
        yield _outcome(step, by_pod.get(step.decision.pod))
    for rejection in story.rejections:
        yield ""
        yield _rejected(rejection)


def expected_of(step: Step) -> Mapping[str, Expected]:
    ask = rebuild(step.decision, step.sights)
    return expected(ask) if ask is not None else {}


def as_json(story: Story) -> str:
    """Everything that is recorded, with what was expected of each candidate."""
    steps = [
        {
            "namespace": step.namespace,
            "modelserver": step.modelserver,
            "epoch": step.epoch,
            "decision": _named(step.decision),
            "why": why(step.decision, by_pod),
            "expected": {pod: one._asdict() for pod, one in by_pod.items()},
            "ttft_since_stored_s": step.first_token.ttft_s if step.first_token else None,
            "prefilled": _named(step.prefilled) if step.prefilled else None,
            "finished": _named(step.finished) if step.finished else None,
        }
        for step in story.steps
        for by_pod in [expected_of(step)]
    ]
    shown = {"rid": story.rid, "steps": steps, "rejections": [_named(each) for each in story.rejections]}
    return msgspec.json.format(msgspec.json.encode(shown)).decode()


def _headline(decision: Decision) -> str:
    waited = f"after {_seconds(decision.queued_s)} in the queue"
    behind = f" ({decision.waiting:,} behind it)" if decision.waiting else ""
    adapter = f", adapter {decision.adapter}" if decision.adapter else ""
    fair = ""
    if (fairness := decision.fairness) is not None and fairness.tenants > 1:
        fair = (
            f"; its tenant had had {fairness.counter - fairness.least:,.0f} weighted tokens more than whoever of "
            f"{fairness.tenants} had least"
        )
    where = f"{decision.pod} by the profile {decision.policy!r}"
    if decision.prefill_pod:
        where = f"a pair: {decision.prefill_pod} prefills, {decision.pod} decodes"
    return (
        f"attempt {decision.attempt}, hop {decision.hop}: at {_clock(decision.at)}, {waited}{behind}, to "
        f"{where}\nprompt {decision.prompt_tokens:,} tokens, answer about "
        f"{decision.output_tokens:,}{adapter}, priority {decision.priority}{fair}"
    )


def _table(decision: Decision, step: Step, by_pod: Mapping[str, Expected]) -> Table:
    """A row for each candidate, the best first, the chosen one marked."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    scorers = list(decision.candidates[0].scores) if decision.candidates else []
    drawn.add_column("")
    drawn.add_column("POD", no_wrap=True)
    for title in ("TOTAL", *scorers, "CACHED", "SLOTS", "PREFILL AHEAD", "FIRST TOKEN"):
        drawn.add_column(title, justify="right")
    inputs = decision.inputs
    for row, candidate in enumerate(decision.candidates):
        known = by_pod.get(candidate.pod)
        cells = ["-"] * 4
        if inputs is not None and known is not None:
            slots = f"{inputs.used[row]}/{step.sights[inputs.sights[row]].slots}"
            cells = [f"{known.cached_tokens:,}", slots, f"{inputs.prefill_tokens[row]:,}", f"{known.ttft_s:.3f} s"]
        scores = [f"{candidate.scores.get(name, 0.0):.3f}" for name in scorers]
        is_chosen = candidate.pod == decision.pod
        drawn.add_row(
            "→" if is_chosen else "",
            candidate.pod,
            f"{candidate.score:.3f}",
            *scores,
            *cells,
            style="bold" if is_chosen else "",
        )
    dropped = len(inputs.sights) - len(decision.candidates) if inputs is not None else 0
    if dropped > 0 and inputs is not None:
        names = [step.sights[index].pod for index in inputs.sights[len(decision.candidates) :]]
        drawn.caption, drawn.caption_justify = f"dropped by a filter: {', '.join(names)}", "left"
    return drawn


def _pairs(decision: Decision) -> Table:
    """A row for each pair, the best first, with the seconds that it was expected to cost."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    drawn.add_column("")
    drawn.add_column("PREFILL → DECODE", no_wrap=True)
    parts = list(decision.candidates[0].scores) if decision.candidates else []
    for title in ("COST", *[part.removesuffix("_s").upper() for part in parts]):
        drawn.add_column(title, justify="right")
    for candidate in decision.candidates:
        is_chosen = (candidate.prefill_pod, candidate.pod) == (decision.prefill_pod, decision.pod)
        drawn.add_row(
            "→" if is_chosen else "",
            pair_name(candidate),
            f"{sum(candidate.scores.values()):.3f} s",
            *[f"{candidate.scores.get(part, 0.0):.3f} s" for part in parts],
            style="bold" if is_chosen else "",
        )
    return drawn


def _prefilled(step: Step) -> str:
    end, decision = step.prefilled, step.decision
    said = f"Prefill at {decision.prefill_pod}: "
    if end is None:
        return said + "not known to have ended."
    if end.outcome != "completed":
        return said + f"{end.outcome} after {end.duration_s:.3f} s."
    return said + (
        f"{end.usage.prompt_tokens:,} tokens, {end.usage.cached_tokens:,} of them cached "
        f"({decision.cached_tokens:,} were expected), in {end.duration_s:.3f} s."
    )


def _outcome(step: Step, predicted: Expected | None) -> str:
    """Predicted against real, as far as it is known."""
    end, first = step.finished, step.first_token
    said = ""
    if predicted is not None:
        said = f"Predicted: {predicted.cached_tokens:,} tokens cached, first token after {predicted.ttft_s:.3f} s. "
    since = f", {first.ttft_s:.3f} s since it was stored" if first else ""
    if end is None:
        return said + (f"It has started{since}, and not ended yet." if first else "It is not known to have started.")
    if not end.started:
        return f"{said}It ended there without a first token: {end.outcome}."
    return (
        f"{said}Really: {end.usage.cached_tokens:,} cached, {end.ttft_s:.3f} s at the pod{since}; then "
        f"{end.usage.output_tokens:,} tokens in {end.duration_s:.3f} s, {end.outcome}."
    )


def _rejected(rejection: Rejection) -> str:
    return (
        f"attempt {rejection.attempt} left without a first token at {_clock(rejection.at)}, after "
        f"{_seconds(rejection.waited_s)}: {rejection.status}, {rejection.reason}"
    )


def _named(record: msgspec.Struct) -> dict[str, Any]:
    """With the fields' names, which the wire leaves out. Any: JSON's."""
    return {name: _plain(getattr(record, name)) for name in record.__struct_fields__}


def _plain(value: Any) -> Any:
    """Any: a field of any contract."""
    if isinstance(value, msgspec.Struct):
        return _named(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.hex() if isinstance(value, bytes) else value


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
