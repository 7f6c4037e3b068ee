"""How a recorded request and a replay look to a person, and what is said when there is nothing to show."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from random import Random

import msgspec
import pytest
from rich.console import Console
from rich.table import Table

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.decision import (
    Candidate,
    Decision,
    DecisionBatch,
    Ending,
    Fairness,
    FirstToken,
    Rejection,
)
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.bus.contracts.profile import Profile, WeightedPlugin
from matrixinfer.bus.ids import new_request_id
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.cli import explanation, replay_table
from matrixinfer.cli.decision_records import read
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.explain import bare_id, stored_at
from matrixinfer.cli.profile_file import parse_profile
from matrixinfer.cli.replay import Replays, seconds
from matrixinfer.handlers.dispatch.hindsight.replay import Replay
from matrixinfer.handlers.dispatch.hindsight.story import story_of
from support.recorded import decided
from support.scheduling import a_pod, a_request, a_scheduler

FAST = Profile(name="fast", scorers=[WeightedPlugin("predicted_ttft")])
FEW = Profile(name="few", scorers=[WeightedPlugin("least_requests")])


def text_of(parts: Iterable[str | Table]) -> str:
    console = Console(width=150, highlight=False, markup=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
    return capture.get()


def a_recorded_batch(rid: str = "r1") -> DecisionBatch:
    pods = [a_pod("near", used=2, prefill_tokens=500), a_pod("far", used=4, prefill_tokens=9000)]
    return decided(FAST, pods, [a_request(1000, key=(rid, 1))], Random(1))


def with_outcome(batch: DecisionBatch) -> DecisionBatch:
    work = WorkKey("r1", 1, 1)
    ending = Ending("near", Finished(work, "completed", True, Usage(1000, 256, 20), 0.2, 1.5))
    return msgspec.structs.replace(batch, first_tokens=[FirstToken("r1", 1, 1, "near", 0.31)], endings=[ending])


def test_the_winner_is_marked_and_prediction_stands_beside_what_came():
    said = text_of(explanation.explanation(story_of("r1", [with_outcome(a_recorded_batch())])))
    assert "request r1 of tenant t, default/qwen" in said
    assert "attempt 1, hop 1" in said
    assert "after 250.0 ms in the queue (3 behind it), to near by the profile 'fast'" in said
    rows = [line.split() for line in said.splitlines() if " near " in line or " far " in line][1:]
    assert rows[0][:3] == ["→", "near", "1.000"]
    assert rows[0][5] == "2/8"
    assert rows[1][0] == "far"
    assert "near beat far by" in said
    assert "Really: 256 cached, 0.200 s at the pod, 0.310 s since it was stored; then 20 tokens in 1.500 s" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endings": []}, "It has started, 0.310 s since it was stored, and not ended yet."),
        ({"endings": [], "first_tokens": []}, "It is not known to have started."),
        (
            {"endings": [Ending("near", Finished(WorkKey("r1", 1, 1), "refused", False))]},
            "It ended there without a first token: refused.",
        ),
    ],
)
def test_what_is_not_known_is_said(change: dict[str, object], said: str):
    batch = msgspec.structs.replace(with_outcome(a_recorded_batch()), **change)
    assert said in text_of(explanation.explanation(story_of("r1", [batch])))


def test_the_fair_queues_counters_are_told_where_they_are_recorded():
    batch = a_recorded_batch()
    fair = msgspec.structs.replace(batch.decisions[0], fairness=Fairness(5000.0, 2000.0, 3))
    said = text_of(explanation.explanation(story_of("r1", [msgspec.structs.replace(batch, decisions=[fair])])))
    assert "its tenant had had 3,000 weighted tokens more than whoever of 3 had least" in said
    alone = msgspec.structs.replace(fair, fairness=Fairness(5000.0, 5000.0, 1))
    said = text_of(explanation.explanation(story_of("r1", [msgspec.structs.replace(batch, decisions=[alone])])))
    assert "had least" not in said


def test_a_refused_request_tells_why_and_how_long_it_waited():
    batch = DecisionBatch("ns", "ms", 1, [], rejections=[Rejection("r1", 1, 0, "t", 100.0, 3.25, 504, "too late")])
    said = text_of(explanation.explanation(story_of("r1", [batch])))
    assert "attempt 1 left without a first token" in said
    assert "after 3.25 s: 504, too late" in said


def test_json_holds_all_of_it_by_name():
    shown = json.loads(explanation.as_json(story_of("r1", [with_outcome(a_recorded_batch())])))
    (step,) = shown["steps"]
    assert step["decision"]["candidates"][0]["pod"] == "near"
    assert step["finished"]["usage"]["cached_tokens"] == 256
    assert step["ttft_since_stored_s"] == 0.31
    assert step["expected"]["far"]["load"] == 0.5


# -- request ids
def test_an_id_is_taken_as_the_header_and_as_the_answer_show_it_and_tells_its_time():
    rid = new_request_id()
    assert {bare_id(rid), bare_id(f"chatcmpl-{rid}"), bare_id(f"cmpl-{rid}"), bare_id(rid.upper())} == {rid}
    assert stored_at(rid) == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("text", ["x", "", "chatcmpl-", "839c538d-cccf-458d-bc59-a73b2865b42b"])
def test_what_is_no_request_id_is_refused(text: str):
    with pytest.raises(CliError, match="is no request id: expected the x-request-id"):
        bare_id(text)


# -- reading
async def test_records_are_read_from_a_time_on_until_there_are_no_more():
    clock = ManualClock()
    bus = MemoryBroker(clock).connect()
    taken: list[bytes] = []
    since = 0.0
    for number in range(600):
        if number == 300:
            await clock.advance(10)
            since = clock.now()
        message = DecisionBatch("ns", f"m{number % 2}", number, [])
        subject = bus.subjects.decision("ns", message.modelserver)
        await (await bus.queue.post(subject, encode(message), message_id=str(number)))
    reading = asyncio.create_task(read(bus, since, taken.append))
    await clock.advance(1)
    await reading
    assert taken == [encode(DecisionBatch("ns", f"m{number % 2}", number, [])) for number in range(300, 600)]


# -- replay
def test_a_replay_tells_what_would_have_changed_and_how_far_to_believe_it():
    pods = [a_pod("busy", used=7, prefill_tokens=1000), a_pod("idle", prefill_tokens=500_000, slots=9)]
    fast = Profile(scorers=[WeightedPlugin("predicted_ttft", parameters={"load_weight_s": 0.0})])
    batch = decided(fast, pods, [a_request(key=(f"r{number}", 1)) for number in range(4)], Random(1))
    again = Replay(a_scheduler(FEW), Random(0))
    for decision in batch.decisions:
        again.decide(decision, batch.sights)
    said = text_of(replay_table.report(again.changes, "default/qwen", "few"))
    assert "4 decisions of default/qwen, decided again with the profile 'few'" in said
    assert "would have gone elsewhere   4 (100.0%)" in said
    assert [line.split() for line in said.splitlines() if line.startswith(("busy", "idle"))] == [
        ["busy", "4", "0"],
        ["idle", "0", "4"],
    ]
    assert "r0: busy → idle" in said
    assert "Exact: of 4 decisions every candidate is recorded; 4 of them change." in said
    assert "not played on" in said
    shown = json.loads(replay_table.as_json({"default/qwen": again.changes}, "few"))["pools"]["default/qwen"]
    assert (shown["moved"], shown["after"], shown["examples"][0]["pod"]) == (4, {"idle": 4}, "idle")


def test_it_says_when_only_the_best_candidates_were_recorded():
    pods = [a_pod(f"p{index}", used=index % 7) for index in range(12)]
    batch = decided(FEW, pods, [a_request(key=("r1", 1))], Random(1))
    again = Replay(a_scheduler(FEW), Random(0))
    again.decide(batch.decisions[0], batch.sights)
    assert "The other 1 chose among the eight best" in text_of(replay_table.report(again.changes, "p", "few"))


@pytest.mark.parametrize(("text", "expected_s"), [("30s", 30.0), ("15m", 900.0), ("1.5h", 5400.0)])
def test_a_span_is_read_with_its_unit(text: str, expected_s: float):
    assert seconds(text) == expected_s


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "0s", "1d"])
def test_what_is_no_span_is_refused(text: str):
    with pytest.raises(CliError, match="--since: expected a time"):
        seconds(text)


def replays(*batches: DecisionBatch, wanted: str | None = None, limit: int | None = None) -> dict[str, int]:
    """Pool → decisions that were decided again."""
    made = Replays(lambda: a_scheduler(FEW), wanted, limit)
    for batch in batches:
        made.take(batch)
    return {pool: changes.decisions for pool, changes in made.changes().items()}


def test_each_pool_is_replayed_for_itself_up_to_the_limit():
    batch = a_recorded_batch()
    a, b = [msgspec.structs.replace(batch, namespace="default", modelserver=name) for name in ("a", "b")]
    nothing = DecisionBatch("default", "c", 1, [])
    assert replays(b, a, b, nothing) == {"default/a": 1, "default/b": 2}
    assert replays(b, a, b, limit=1) == {"default/a": 1, "default/b": 1}
    assert replays(b, a, b, wanted="b") == replays(b, a, b, wanted="default/b") == {"default/b": 2}
    with pytest.raises(
        CliError, match="no decisions of default/c are recorded for that time; there are some of: default/a"
    ):
        replays(a, nothing, wanted="c")
    with pytest.raises(CliError, match="no decisions are recorded"):
        replays(nothing)


# -- a profile's file
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scorers: [{name: 3}]", r"f.yaml: profile.scorers\[0\].name: expected `str`, got `int`"),
        (
            "scorers: [{name: x, wieght: 3}]",
            r"f.yaml: profile.scorers\[0\].wieght is not known; known are: name, weight",
        ),
        ("scorer: []", "f.yaml: profile.scorer is not known"),
        ("picker: {nme: x, name: y}", "f.yaml: profile.picker.nme is not known"),
        ("[1]", "f.yaml: profile: expected `object`, got `array`"),
        ("{", "f.yaml: expected YAML"),
    ],
)
def test_a_wrong_profile_is_refused_by_the_name_of_its_field(text: str, said: str):
    with pytest.raises(CliError, match=said):
        parse_profile(text, "f.yaml")


def test_a_profile_is_read_and_an_empty_one_is_the_defaults():
    assert parse_profile("{name: few, scorers: [{name: least_requests}]}", "f.yaml") == FEW
    assert parse_profile("{}", "f.yaml").is_empty()


def a_pair_batch() -> DecisionBatch:
    """`p1` prefilled for `d1`; the second best pair was `p2` with it."""
    candidates = [
        Candidate("d1", 1.0, {"prefill_s": 0.1, "transfer_s": 0.02, "decode_s": 0.03}, "p1"),
        Candidate("d1", 0.3, {"prefill_s": 0.45, "transfer_s": 0.02, "decode_s": 0.03}, "p2"),
    ]
    decision = Decision("r1", 1, 1, "t", "d1", "b", 100.0, 0.5, 4096, candidates, "default", prefill_pod="p1")
    prefilled = Finished(WorkKey("r1", 1, 1, "prefill"), "completed", True, Usage(4096, 1024, 1), 0.2, 0.2)
    decoded = Finished(WorkKey("r1", 1, 1, "decode"), "completed", True, Usage(4096, 4096, 20), 0.25, 1.5)
    return DecisionBatch("default", "qwen", 1, [decision], endings=[Ending("p1", prefilled), Ending("d1", decoded)])


def test_of_a_pair_both_halves_are_told_and_what_each_part_was_expected_to_cost():
    said = text_of(explanation.explanation(story_of("r1", [a_pair_batch()])))
    assert "to a pair: p1 prefills, d1 decodes" in said
    rows = [line.split() for line in said.splitlines() if "→ d1" in line]
    assert rows[0] == ["→", "p1", "→", "d1", "0.150", "s", "0.100", "s", "0.020", "s", "0.030", "s"]
    assert rows[1][:3] == ["p2", "→", "d1"]
    assert "p1 → d1 beat p2 → d1: 0.150 s against 0.500 s, most of it by prefill (0.100 s against 0.450 s)." in said
    assert "Prefill at p1: 4,096 tokens, 1,024 of them cached (0 were expected), in 0.200 s." in said
    assert "then 20 tokens in 1.500 s" in said
    shown = json.loads(explanation.as_json(story_of("r1", [a_pair_batch()])))
    assert shown["steps"][0]["prefilled"]["usage"]["cached_tokens"] == 1024


def test_a_replay_counts_pairs_and_leaves_them_alone():
    replay = Replay(a_scheduler(FEW), Random(1))
    batch = a_pair_batch()
    assert replay.decide(batch.decisions[0], batch.sights) is None
    assert (replay.changes.pairs, replay.changes.unrecorded) == (1, 0)
    assert "1 requests of default/qwen were split" in text_of(
        replay_table.report(replay.changes, "default/qwen", "few")
    )
