"""`matrixinfer simulate` from the command line to the files it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from matrixinfer.cli.app import app
from matrixinfer.simulate import chart as chart_module
from matrixinfer.simulate.comparison import Comparison
from matrixinfer.simulate.errors import NoChart
from matrixinfer.simulate.policies import POLICIES

TRACE = "".join(
    json.dumps(
        {"timestamp": number * 200, "input_length": 1200, "output_length": 20, "hash_ids": [number % 3, number + 9]}
    )
    + "\n"
    for number in range(30)
)


def run(*arguments: str):
    return CliRunner().invoke(app, ["simulate", *arguments])


def test_a_trace_becomes_a_table_json_and_a_picture(tmp_path: Path) -> None:
    trace, numbers, picture = tmp_path / "t.jsonl", tmp_path / "t.json", tmp_path / "t.png"
    trace.write_text(TRACE)
    result = run(
        *("--trace", str(trace), "--pods", "2", "--compare", "all", "--limit", "25"),
        *("--json", str(numbers), "--chart", str(picture)),
    )
    assert result.exit_code == 0, result.stderr
    assert "t: 25 requests" in result.stdout
    assert all(f"\n{name} " in result.stdout for name in POLICIES)
    written = json.loads(numbers.read_text())
    assert set(written) == {"policies", "default", "events_per_s"}
    assert list(written["policies"]) == list(POLICIES)
    ours = written["policies"][written["default"]]
    assert set(ours) == {"ttft_s", "tpot_s", "goodput_rps", "hit_rate", "rejected", "jain"}
    assert set(ours["ttft_s"]) == set(ours["tpot_s"]) == {"p50", "p90", "p99"}
    assert written["events_per_s"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_constants_of_the_engine_can_be_set() -> None:
    arguments = ("--workload", "no-reuse", "--pods", "1", "--limit", "10")
    slow = run(*arguments, "--engine", "prefill_tokens_per_s=10", "--engine", "slots=4")
    assert slow.exit_code == 0, slow.stderr
    assert slow.stdout != run(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected one of --trace FILE and --workload NAME"),
        (("--trace", "/nowhere.jsonl"), "/nowhere.jsonl: No such file or directory"),
        (("--workload", "bogus"), "workload 'bogus' is not known; known are: shared-prefix-long"),
        (("--workload", "bursty", "--compare", "bogus"), "policy bogus is not known; known are: all, default"),
        (
            ("--workload", "bursty", "--pods", "2", "--prefill-pods", "2"),
            "--prefill-pods 2: expected fewer than --pods",
        ),
        (("--workload", "bursty", "--rate-scale", "0"), "--rate-scale: expected a number above 0, got 0"),
        (("--workload", "bursty", "--engine", "slots"), "expected FIELD=VALUE, such as slots=128"),
        (("--workload", "bursty", "--engine", "sloths=3"), "field 'sloths' is not known"),
        (("--workload", "bursty", "--engine", "block_tokens=16"), "traces are in blocks of 256 tokens, got 16"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_chart_without_its_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(NoChart, match=r"pip install 'matrixinfer\[simulate\]'"):
        chart_module.draw(Comparison("w", {}, 1.0), tmp_path / "x.png")


def test_what_a_tenant_does_to_the_others_is_a_table_of_its_own() -> None:
    result = run(*("--workload", "multi-tenant", "--pods", "2", "--limit", "200", "--isolate", "heavy"))
    assert result.exit_code == 0, result.stderr
    assert "of them of heavy, 2 pods; TTFT of the others without it and beside it" in result.stdout
    assert len(result.stdout.splitlines()[-1].split()) == 8
