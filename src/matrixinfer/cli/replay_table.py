"""How the changes of a replay look in the terminal, and as JSON. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import msgspec
from rich.table import Table

from matrixinfer.handlers.dispatch.hindsight.replay import Changes, Verdict

_PODS = 20


def report(changes: Changes, pool: str, profile: str) -> Iterator[str | Table]:
    """What would have changed, where, a few examples, and how far to believe it."""
    count = changes.decisions
    if changes.pairs:
        yield f"{changes.pairs:,} requests of {pool} were split between two pods: no profile weighs pairs"
    yield f"{count:,} decisions of {pool}, decided again with the profile {profile!r}"
    if not count:
        yield f"{changes.unrecorded:,} have no recorded inputs, and could not be decided again"
        return
    placed = count - changes.held
    yield f"  would have gone elsewhere   {changes.moved:,} ({changes.moved / count:.1%})"
    yield f"  would have waited           {changes.held:,}"
    cached = _change(changes.cached_before, changes.cached_after)
    yield f"  cached tokens, expected     {changes.cached_before:,} → {changes.cached_after:,}{cached}"
    before_s, after_s = changes.ttft_before_s / max(1, placed), changes.ttft_after_s / max(1, placed)
    yield f"  first token, predicted      {before_s:.4f} s → {after_s:.4f} s on the mean{_change(before_s, after_s)}"
    yield ""
    yield _pods(changes)
    if changes.examples:
        yield ""
        yield "the largest changes"
        for verdict in changes.examples:
            yield f"  {_told(verdict)}"
    yield ""
    yield _belief(changes)


def as_json(by_pool: Mapping[str, Changes], profile: str) -> str:
    """The same numbers, of each pool."""
    shown = {"profile": profile, "pools": {pool: _numbers(changes) for pool, changes in by_pool.items()}}
    return msgspec.json.format(msgspec.json.encode(shown)).decode()


def _numbers(changes: Changes) -> dict[str, object]:
    shown = {field.name: getattr(changes, field.name) for field in dataclasses.fields(changes)}
    return {**shown, "examples": [_example(verdict) for verdict in changes.examples]}


def _example(verdict: Verdict) -> dict[str, object]:
    return {
        "rid": verdict.decision.rid,
        "attempt": verdict.decision.attempt,
        "hop": verdict.decision.hop,
        "recorded_pod": verdict.decision.pod,
        "pod": verdict.pod,
        "recorded": verdict.recorded._asdict(),
        "expected": verdict.expected._asdict(),
        "recorded_total": verdict.recorded_total,
        "total": verdict.total,
    }


def _pods(changes: Changes) -> Table:
    drawn = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for title in ("POD", "BEFORE", "AFTER"):
        drawn.add_column(title, justify="left" if title == "POD" else "right", no_wrap=True)
    names = sorted(changes.before | changes.after, key=lambda pod: (-changes.before[pod], pod))
    for name in names[:_PODS]:
        drawn.add_row(name, f"{changes.before[name]:,}", f"{changes.after[name]:,}")
    if rest := names[_PODS:]:
        before, after = sum(changes.before[name] for name in rest), sum(changes.after[name] for name in rest)
        drawn.add_row(f"{len(rest)} more", f"{before:,}", f"{after:,}")
    return drawn


def _told(verdict: Verdict) -> str:
    recorded, expected = verdict.recorded, verdict.expected
    against = f"{verdict.recorded_total:.3f}" if verdict.recorded_total is not None else "dropped by a filter"
    return (
        f"{verdict.decision.rid}: {verdict.decision.pod} → {verdict.pod}, first token {recorded.ttft_s:.3f} s → "
        f"{expected.ttft_s:.3f} s, cached {recorded.cached_tokens:,} → {expected.cached_tokens:,} "
        f"(total {verdict.total:.3f} against {against})"
    )


def _belief(changes: Changes) -> str:
    """What the numbers are worth."""
    complete, rest = changes.complete, changes.decisions - changes.complete
    said = f"Exact: of {complete:,} decisions every candidate is recorded; {changes.moved_complete:,} of them change."
    if rest:
        said += f" The other {rest:,} chose among the eight best that were recorded, which are the recorded profile's."
    if changes.unrecorded:
        said += f" {changes.unrecorded:,} have no recorded inputs and were left out."
    return (
        f"{said}\nEach decision is taken in the situation that was recorded: other queues and caches that would have "
        "followed are not played on; `matrixinfer simulate` does that."
    )


def _change(before: float, after: float) -> str:
    return f" ({(after - before) / before:+.1%})" if before else ""
