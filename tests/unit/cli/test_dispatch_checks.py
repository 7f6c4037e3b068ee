"""What `doctor` makes of the dispatchers' reports."""

from __future__ import annotations

import msgspec

from matrixinfer.bus.contracts.dispatch import PluginTiming, QueueReport
from matrixinfer.cli.dispatch_checks import SLOW_ADVICE, cache_mismatches, plugin_timings

REPORT = QueueReport("ns", "ms", 0, 7, 1, 0, 0, 0.0, 1, 0.0)
QUICK = [PluginTiming(f"scorer s{number}", 10, number * 1e-4, 1e-4) for number in range(1, 6)]


def saying(**fields: object) -> QueueReport:
    return msgspec.structs.replace(REPORT, **fields)


def test_the_plug_ins_that_take_most_are_shown_with_what_a_decision_takes() -> None:
    [found] = plugin_timings([saying(timings=QUICK)])
    assert (found.verdict, found.subject) == ("fine", "plug-ins")
    assert (
        found.text == "ns/ms, shard 0: 150 µs a decision: scorer s5 50 µs, scorer s4 40 µs, scorer s3 30 µs and 2 more"
    )


def test_a_slow_plug_in_is_named_with_what_to_do() -> None:
    slow = PluginTiming("filter mine", 2, 0.004, 0.003)
    fine, wrong = plugin_timings([saying(timings=[*QUICK, slow])])
    assert (fine.verdict, wrong.verdict) == ("fine", "wrong")
    assert wrong.text == "ns/ms, shard 0: filter mine takes 2,000 µs a decision, 3,000 µs once"
    assert wrong.advice == SLOW_ADVICE


def test_a_pool_that_has_not_decided_says_nothing() -> None:
    assert list(plugin_timings([REPORT, saying(timings=[PluginTiming("filter ready", 0, 0.0, 0.0)])])) == []


def test_what_several_shards_suspect_is_told_once() -> None:
    reports = [saying(shard=shard, suspicions=["mismatch at p1"]) for shard in range(2)]
    [found] = cache_mismatches(reports)
    assert (found.verdict, found.text) == ("wrong", "ns/ms: mismatch at p1")
    [found] = cache_mismatches([REPORT])
    assert found.verdict == "fine"
