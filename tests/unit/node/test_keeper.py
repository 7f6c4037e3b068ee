"""The keeper with real small processes: starting, ending, adopting after a kill of the node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.environment import Machine
from matrixinfer.agents.node.errors import NodeTaken
from matrixinfer.agents.node.keeper import Keeper
from matrixinfer.agents.node.pods import ContainerId, Pod, PodId, read_pod
from matrixinfer.agents.node.processes import Processes
from matrixinfer.agents.node.records import Records
from support.eventually import eventually

MAIN = ContainerId(PodId("default", "p"), "main")
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"

CRASHING_NODE = """
import json, os, sys, time
from pathlib import Path
from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.environment import Machine
from matrixinfer.agents.node.keeper import Keeper
from matrixinfer.agents.node.pods import read_pod
from matrixinfer.agents.node.processes import Processes
from matrixinfer.agents.node.records import Records

folder, document = Path(sys.argv[1]), json.loads(sys.argv[2])
pod = read_pod(document)
machine = Machine("local", sys.executable, dict(os.environ), "", "mi")
keeper = Keeper(Records(folder), Processes(), machine, Backoff(), new_life=lambda: f"{folder}#life",
                on_change=lambda _: None)
keeper.turn({pod.id: pod}, time.time())
os.kill(os.getpid(), 9)
"""


class Bench:
    """A keeper on a folder, with what it needs."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.folder = folder
        self.changed: list[PodId] = []
        self.records = Records(folder)
        lives = iter(range(1000))
        self.keeper = Keeper(
            self.records,
            Processes(),
            machine,
            Backoff(first_s=0.01, limit_s=0.05),
            new_life=lambda: f"{folder}#{next(lives)}",
            on_change=self.changed.append,
        )

    def turn(self, *pods: Pod) -> set[PodId]:
        return self.keeper.turn({pod.id: pod for pod in pods}, time.time())

    def pid(self, id: ContainerId = MAIN) -> int:
        process = self.keeper.states[id].process
        assert process is not None
        return process.pid

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "pods" / "default" / "p" / "main.log"


@pytest.fixture
def benches(tmp_path: Path, machine: Machine) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: int) -> Bench:
        made.append(Bench(tmp_path / "node", machine, **options))
        return made[-1]

    yield make
    for bench in made:
        for state in bench.keeper.states.values():
            if state.process is not None and _lives(state.process.pid):
                os.killpg(state.process.pid, signal.SIGKILL)
        while not bench.keeper.exit_turn({}, 0.0, time.time()):
            time.sleep(0.01)
        try:
            bench.records.close()
        except OSError:  # closed by the test
            continue


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_pod_runs_with_its_environment_and_its_output_in_a_log(benches, pod_document) -> None:
    bench = benches()
    env = ({"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},)
    pod = read_pod(pod_document("p", "sh", "-c", 'echo "I am $WHO"; echo oops >&2; sleep 60', env=env))
    bench.turn(pod)
    await eventually(lambda: bench.log.read_text() == "I am p\noops\n")
    assert os.getpgid(bench.pid()) == bench.pid()


async def test_a_pod_that_is_not_wanted_any_more_ends_with_its_whole_group(benches, pod_document) -> None:
    bench = benches()
    pod = read_pod(pod_document("p", "sh", "-c", "sleep 60 & echo $!; wait"))
    bench.turn(pod)
    grandchild = int(await eventually(lambda: bench.log.read_text().strip()))
    await eventually(lambda: bench.turn() == set() and not bench.keeper.states)
    await eventually(lambda: not _lives(grandchild))
    assert not (bench.folder / "pods" / "default" / "p").exists()


async def test_what_ignores_the_request_to_end_is_killed_after_its_grace(benches, pod_document) -> None:
    bench = benches()
    document = pod_document("p", sys.executable, "-c", STUBBORN, terminationGracePeriodSeconds=0)
    bench.turn(read_pod(document))
    await eventually(lambda: bench.log.read_text())
    pid = bench.pid()
    document["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    removable = await eventually(lambda: bench.turn(read_pod(document)))
    assert removable == {MAIN.pod}
    assert not _lives(pid)


async def test_a_container_that_dies_is_started_again_and_counted(benches, pod_document) -> None:
    bench = benches()
    pod = read_pod(pod_document("p", "sh", "-c", "echo first; echo why it ended; echo; exit 3"))
    bench.turn(pod)
    await eventually(lambda: bench.turn(pod) == set() and bench.keeper.states[MAIN].restarts >= 2)
    previous = bench.keeper.states[MAIN].previous
    assert previous is not None
    assert previous.exit_code == 3
    assert previous.message == "why it ended"
    assert MAIN.pod in bench.changed


async def test_a_program_that_is_not_there_is_told_and_tried_again(benches, pod_document) -> None:
    bench = benches()
    pod = read_pod(pod_document("p", "/nowhere/program"))
    bench.turn(pod)
    ending = bench.keeper.states[MAIN].ending
    assert ending is not None
    assert "/nowhere/program" in ending.message
    await eventually(lambda: bench.turn(pod) == set() and bench.keeper.states[MAIN].restarts >= 1)


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (("sh", "a\0b"), {}),
        (("sleep", "60"), {"name": "A", "value": "a\0b"}),
        (("sleep",), {"name": "A=B", "value": ""}),
    ],
    ids=["command", "value", "name"],
)
async def test_what_no_process_can_be_given_is_told_as_a_program_that_is_not_there(
    benches, pod_document, argv, env
) -> None:
    bench = benches()
    bench.turn(read_pod(pod_document("p", *argv, env=(env,) if env else ())))
    ending = bench.keeper.states[MAIN].ending
    assert ending is not None
    assert ending.message.startswith(f"cannot execute '{argv[0]}' in ")


async def test_what_the_run_before_said_is_moved_aside_at_a_start_and_silence_is_not(benches, pod_document) -> None:
    bench = benches()
    mark = bench.folder / "spoke"
    pod = read_pod(pod_document("p", "sh", "-c", f"test -e {mark} || echo first; touch {mark}"))
    bench.turn(pod)
    await eventually(lambda: bench.turn(pod) == set() and bench.keeper.states[MAIN].restarts >= 2)
    assert bench.log.with_name("main.log.1").read_text() == "first\n"
    assert bench.log.read_text() == ""


async def test_two_nodes_cannot_have_one_folder(benches) -> None:
    bench = benches()
    with pytest.raises(NodeTaken, match="another node"):
        Records(bench.folder)


def crash_a_node(folder: Path, document: dict[str, object]) -> None:

    result = subprocess.run([sys.executable, "-c", CRASHING_NODE, str(folder), json.dumps(document)], check=False)
    assert result.returncode == -signal.SIGKILL


async def test_a_new_node_adopts_what_the_killed_one_started(benches, pod_document, tmp_path: Path) -> None:
    document = pod_document("p", "sh", "-c", "echo started; sleep 60")
    crash_a_node(tmp_path / "node", document)
    bench = benches()
    bench.keeper.adopt(time.time(), f"{bench.folder}#")
    pid = bench.pid()
    assert _lives(pid)
    bench.turn(read_pod(document))
    assert bench.pid() == pid
    assert bench.keeper.states[MAIN].restarts == 0

    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: bench.turn(read_pod(document)) == set() and bench.keeper.states[MAIN].restarts == 1)
    assert bench.pid() != pid


async def test_a_process_whose_pid_was_not_yet_written_is_found(benches, pod_document, tmp_path: Path) -> None:
    document = pod_document("p", "sh", "-c", "sleep 60")
    crash_a_node(tmp_path / "node", document)
    record = tmp_path / "node" / "pods" / "default" / "p" / "main.json"

    written = json.loads(record.read_text())
    pid = written.pop("process")["pid"]
    record.write_text(json.dumps(written | {"process": None}))
    bench = benches()
    bench.keeper.adopt(time.time(), f"{bench.folder}#")
    assert bench.pid() == pid


async def test_a_process_without_a_record_is_killed(benches, pod_document, tmp_path: Path) -> None:
    crash_a_node(tmp_path / "node", pod_document("p", "sh", "-c", "sleep 60"))
    record = tmp_path / "node" / "pods" / "default" / "p" / "main.json"

    pid = json.loads(record.read_text())["process"]["pid"]
    record.unlink()
    bench = benches()
    bench.keeper.adopt(time.time(), f"{bench.folder}#")
    await eventually(lambda: not _lives(pid))
    assert bench.keeper.states == {}


def a_stranger() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


async def test_a_process_that_took_the_pid_of_ours_is_left_alone(benches, pod_document, tmp_path: Path) -> None:
    document = pod_document("p", "sh", "-c", "sleep 60")
    crash_a_node(tmp_path / "node", document)
    record = tmp_path / "node" / "pods" / "default" / "p" / "main.json"

    written = json.loads(record.read_text())
    os.killpg(written["process"]["pid"], signal.SIGKILL)
    with a_stranger() as stranger:
        record.write_text(json.dumps(written | {"process": {"pid": stranger.pid, "created_s": 1.0}}))
        bench = benches()
        bench.keeper.adopt(time.time(), f"{bench.folder}#")
        state = bench.keeper.states[MAIN]
        assert not state.is_running
        assert stranger.poll() is None
        stranger.kill()


async def test_a_stopping_node_ends_everything_and_counts_it_as_no_crash(benches, pod_document) -> None:
    bench = benches()
    bench.turn(read_pod(pod_document("p", "sh", "-c", "sleep 60")))
    pid = bench.pid()
    await eventually(lambda: bench.keeper.exit_turn({}, 5.0, time.time()))
    bench.keeper.forget_stopped()
    assert not _lives(pid)
    assert bench.keeper.states == {}
