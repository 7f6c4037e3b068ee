"""`matrixinfer up` as a person meets it: serves, refuses what cannot be, stops, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
import pytest

from matrixinfer.bus.server.record import free_port
from support.eventually import eventually
from support.house import House
from support.nats import running_server

pytestmark = pytest.mark.timeout(120)
SIMULATED = ("--engine", "simulated")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path / "data", *SIMULATED) as house:
        yield house


def marked(record: dict[str, Any]) -> list[psutil.Process]:
    """Living processes that carry the platform's marker."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MATRIXINFER_HOUSE") == record["house"]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def matrixinfer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "matrixinfer", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )


async def ask(house: House) -> dict[str, Any]:
    body = {"model": "simulated", "max_tokens": 3, "messages": [{"role": "user", "content": "Hello"}]}
    async with httpx.AsyncClient(timeout=20.0) as client:
        response = await client.post(f"{house.url}/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def process_of(house: House) -> subprocess.Popen[bytes]:
    assert house.process is not None
    return house.process


async def test_it_answers_and_says_where_it_is(house: House) -> None:
    answer = await ask(house)
    assert answer["usage"]["completion_tokens"] == 3
    record = house.record()
    assert record["gateway_url"] == house.url
    assert record["pid"] == process_of(house).pid
    assert stat.S_IMODE((house.data_dir / "up.json").stat().st_mode) == 0o600
    for step in ("bus", "handlers", "gateway", "node", "engine", "first answer"):
        assert any(line.startswith(step) and " ok " in line for line in house.output.splitlines()), step
    assert f"curl -N {house.url}/v1/chat/completions" in house.output


async def test_every_part_carries_the_marker_and_writes_a_log(house: House) -> None:
    lines = [" ".join(process.cmdline()) for process in marked(house.record())]
    for part in ("nats-server", "matrixinfer handlers", "matrixinfer node", "matrixinfer gateway", "matrixinfer agent"):
        assert any(part in line for line in lines), (part, lines)
    logs = {path.name for path in (house.data_dir / "logs").rglob("*.log")}
    assert {"handlers.log", "node.log", "gateway.log", "agent.log"} <= logs


async def test_an_interrupt_stops_everything_within_ten_seconds(tmp_path: Path) -> None:
    async with House(tmp_path / "data", *SIMULATED, "--replicas", "2", "--gateways", "2") as house:
        record = house.record()
        assert len(marked(record)) >= 7
        process_of(house).send_signal(signal.SIGINT)
        assert process_of(house).wait(10) == 0
        assert marked(record) == []
        assert not (house.data_dir / "up.json").exists()


async def test_each_of_several_gateways_is_asked_for_its_own_metrics_where_prometheus_is_told(tmp_path: Path) -> None:
    async with House(tmp_path / "data", *SIMULATED, "--gateways", "2") as house:
        targets = json.loads((house.data_dir / "gateways.json").read_text())[0]["targets"]
        assert all(f"http://{target}/metrics" in house.output for target in targets)

        async def workers() -> list[str]:
            async with httpx.AsyncClient() as client:
                pages = [(await client.get(f"http://{target}/metrics")).text for target in targets]
            return [page.partition('worker="')[2].partition('"')[0] for page in pages]

        assert await workers() == ["gateway-0", "gateway-1"]
        house.kill(house.pids("matrixinfer", "gateway")[0])

        async def are_both_there() -> bool:
            try:
                return await workers() == ["gateway-0", "gateway-1"]
            except httpx.HTTPError:
                return False

        await eventually(are_both_there, timeout_s=10.0)
    assert not (house.data_dir / "gateways.json").exists()


async def test_an_interrupted_start_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    manifest = tmp_path / "slow.yaml"
    manifest.write_text(
        "apiVersion: matrixinfer.ai/v1alpha1\nkind: Model\nmetadata: {name: slow}\n"
        "spec: {backends: [{name: main, type: Simulated, config: {time_to_load_s: 60}}]}\n"
    )
    process = _piped(tmp_path / "data", tmp_path / "errors", "-f", str(manifest))
    try:
        assert process.stdout is not None
        await asyncio.to_thread(_read_until, process.stdout, b"node ")
        record = json.loads((tmp_path / "data" / "up.json").read_text())
        process.send_signal(signal.SIGINT)
        rest = await asyncio.to_thread(process.stdout.read)
        assert await asyncio.to_thread(process.wait, 15) == 130
        assert b"engine         stopped" in rest
        assert b"failed" not in rest
        assert (tmp_path / "errors").read_text() == ""
        assert marked(record) == []
        assert not (tmp_path / "data" / "up.json").exists()
    finally:
        process.kill()
        process.communicate()


async def test_a_kill_leaves_no_process_and_the_next_start_works_at_once(tmp_path: Path) -> None:
    async with House(tmp_path / "data", *SIMULATED) as house:
        record = house.record()
        process_of(house).kill()
        process_of(house).wait()
        async with House(tmp_path / "data", *SIMULATED) as again:
            assert marked(record) == []
            await ask(again)
            house.process = again.process  # the first one has nothing to stop any more
            again_process = process_of(again)
            again_process.send_signal(signal.SIGINT)
            assert again_process.wait(15) == 0


async def test_the_reaper_alone_ends_what_a_killed_up_left(tmp_path: Path) -> None:
    async with House(tmp_path / "data", *SIMULATED) as house:
        record = house.record()
        assert marked(record)
        process_of(house).kill()
        await eventually(lambda: marked(record) == [], timeout_s=10.0)


async def test_a_killed_reaper_comes_back_and_still_ends_what_a_killed_up_left(tmp_path: Path) -> None:
    async with House(tmp_path / "data", *SIMULATED) as house:
        record = house.record()
        for _ in range(2):
            [reaper] = house.pids("reaper.py")
            house.kill(reaper)
            await eventually(lambda reaper=reaper: house.pids("reaper.py") not in ([], [reaper]), timeout_s=10.0)
        assert "reaper was ended by signal 9" in house.output
        assert marked(record)
        process_of(house).kill()
        await eventually(lambda: marked(record) == [], timeout_s=10.0)


async def test_a_second_one_on_the_same_folder_is_refused(house: House) -> None:
    second = matrixinfer("up", *SIMULATED, "--port", "0", "--data", str(house.data_dir))
    assert second.returncode == 1
    assert "another `matrixinfer up` uses" in second.stderr
    assert house.url in second.stderr
    await ask(house)


async def test_a_taken_port_is_refused_at_once_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = matrixinfer("up", *SIMULATED, "--port", str(port), "--data", str(tmp_path / "data"))
    assert refused.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken by process {os.getpid()}" in refused.stderr
    assert "--port" in refused.stderr
    assert not (tmp_path / "data" / "nats").exists()


async def test_a_second_one_on_the_same_server_and_prefix_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        shared = ("--nats", server.url, *SIMULATED)
        async with House(tmp_path / "data", *shared, "--replicas", "2") as house:
            agents = house.pids("matrixinfer", "agent")
            second = await asyncio.to_thread(matrixinfer, "up", *shared, "--port", "0", "--data", str(tmp_path / "two"))
            assert second.returncode == 1
            assert "another node named 'local' is alive on this bus (prefix 'mi')" in second.stderr
            assert "stop it, or give this one its own MATRIXINFER_BUS_PREFIX" in second.stderr
            assert not (tmp_path / "two" / "logs" / "node.log").exists()
            assert house.pids("matrixinfer", "agent") == agents
            process_of(house).kill()
        async with House(tmp_path / "data", *shared) as again:  # what the killed one left there is its own
            await ask(again)


async def test_a_server_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    at = ("--nats", f"nats://127.0.0.1:{free_port()}", "--port", "0", "--data", str(tmp_path / "data"))
    failed = await asyncio.to_thread(matrixinfer, "up", *SIMULATED, *at)
    assert failed.returncode == 1
    assert "start one there, or name another; or leave out --nats" in failed.stderr


async def test_a_model_that_cannot_start_ends_it_with_the_reason(tmp_path: Path) -> None:
    manifest = tmp_path / "bad.yaml"
    manifest.write_text(
        "apiVersion: matrixinfer.ai/v1alpha1\nkind: Model\nmetadata: {name: bad}\n"
        "spec: {backends: [{name: main, type: Simulated, config: {slots: many}}]}\n"
    )
    failed = matrixinfer("up", "-f", str(manifest), "--port", "0", "--data", str(tmp_path / "data"))
    assert failed.returncode == 1
    assert "pod default/bad-main-0-server-0-0 cannot start" in failed.stderr
    assert "slots" in failed.stderr  # the last lines of the agent's log


async def test_a_manifest_with_an_error_ends_it_with_the_place(tmp_path: Path) -> None:
    manifest = tmp_path / "bad.yaml"
    manifest.write_text(
        "apiVersion: matrixinfer.ai/v1alpha1\nkind: Model\nmetadata: {name: bad}\nspec: {backend: []}\n"
    )
    failed = matrixinfer("up", "-f", str(manifest), "--port", "0", "--data", str(tmp_path / "data"))
    assert failed.returncode == 1
    assert "spec.backend: unknown field" in failed.stderr
    assert not (tmp_path / "data").exists()  # nothing was started for it


async def test_it_lives_on_and_stops_in_order_when_nobody_reads_its_output_any_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = _piped(data, tmp_path / "errors", *SIMULATED)
    try:
        assert process.stdout is not None
        await asyncio.to_thread(_read_until, process.stdout, b"Ctrl-C stops it")
        process.stdout.close()
        record = json.loads((data / "up.json").read_text())
        [gateway] = [one for one in marked(record) if "gateway" in one.cmdline()]
        gateway.kill()
        await eventually(
            lambda: [one for one in marked(record) if "gateway" in one.cmdline() and one.pid != gateway.pid],
            timeout_s=10.0,
        )
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 15) == 0
        assert (tmp_path / "errors").read_text() == ""
        assert not (data / "up.json").exists()
    finally:
        process.kill()
        process.wait()


def _piped(data: Path, errors: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "matrixinfer", "up", *arguments, "--port", "0", "--data", str(data)]
    with errors.open("wb") as file:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file)


def _read_until(output: IO[bytes], text: bytes) -> None:
    for line in output:
        if text in line:
            return
    raise AssertionError(f"ended without saying {text!r}")


@pytest.mark.parametrize("part", ["handlers", "node", "gateway"])
async def test_a_killed_part_comes_back_and_requests_are_answered(house: House, part: str) -> None:
    [victim] = house.pids("matrixinfer", part)
    agents = house.pids("matrixinfer", "agent")
    house.kill(victim)
    await eventually(lambda: house.pids("matrixinfer", part) not in ([], [victim]), timeout_s=10.0)

    async def serves() -> bool:
        try:
            return bool(await ask(house))
        except (httpx.HTTPError, AssertionError):
            return False

    await eventually(serves, timeout_s=20.0)
    assert house.pids("matrixinfer", "agent") == agents
    assert f"{part} was ended by signal 9" in house.output


async def test_a_restarted_node_keeps_the_agents_that_run_and_looks_after_them(house: House) -> None:
    [node], [agent] = house.pids("matrixinfer", "node"), house.pids("matrixinfer", "agent")
    house.kill(node)
    await eventually(lambda: house.pids("matrixinfer", "node") not in ([], [node]), timeout_s=10.0)
    await eventually(lambda: "adopted process" in (house.data_dir / "logs" / "node.log").read_text(), timeout_s=10.0)
    assert house.pids("matrixinfer", "agent") == [agent]

    house.kill(agent)
    await eventually(lambda: house.pids("matrixinfer", "agent") not in ([], [agent]), timeout_s=10.0)


async def test_the_other_commands_find_it_without_flags(house: House) -> None:
    here = {"MATRIXINFER_DATA": str(house.data_dir)}

    pods = json.loads(matrixinfer("get", "pods", "-o", "json", **here).stdout)
    assert [pod["metadata"]["name"] for pod in pods["items"]] == ["simulated-main-0-server-0-0"]
    assert "simulated" in matrixinfer("get", "models", **here).stdout
    doctor = matrixinfer("doctor", **here)
    assert doctor.returncode == 0, doctor.stdout
    assert "its agent answers" in doctor.stdout
    chat = matrixinfer("chat", "simulated", "Hello", "--max-tokens", "3", **here)
    assert len(chat.stdout.split()) == 3
    assert matrixinfer("get", "model", "nothing", **here).stderr.startswith("error: there is no model 'nothing'")


async def test_objects_can_be_applied_changed_and_deleted(house: House, tmp_path: Path) -> None:
    here = {"MATRIXINFER_DATA": str(house.data_dir)}
    manifest = tmp_path / "more.yaml"
    manifest.write_text(
        "apiVersion: matrixinfer.ai/v1alpha1\nkind: Model\nmetadata: {name: more}\n"
        "spec: {backends: [{name: main, type: Simulated}]}\n"
    )
    assert matrixinfer("apply", "-f", str(manifest), **here).stdout == "model/more created\n"
    assert matrixinfer("apply", "-f", str(manifest), **here).stdout == "model/more unchanged\n"
    await eventually(lambda: len(house.pids("matrixinfer", "agent")) == 2, timeout_s=10.0)
    assert matrixinfer("delete", "-f", str(manifest), **here).stdout == "model/more deleted\n"
    await eventually(lambda: len(house.pids("matrixinfer", "agent")) == 1, timeout_s=15.0)
    assert matrixinfer("delete", "model", "more", **here).returncode == 1


async def test_what_the_former_manifest_held_is_not_served_by_the_next_one(tmp_path: Path) -> None:
    async with House(tmp_path / "data", *SIMULATED):
        pass
    manifest = tmp_path / "other.yaml"
    manifest.write_text(
        "apiVersion: matrixinfer.ai/v1alpha1\nkind: Model\nmetadata: {name: other}\n"
        "spec: {backends: [{name: main, type: Simulated}]}\n"
    )
    async with House(tmp_path / "data", "-f", str(manifest)) as house:

        async def only_the_other() -> bool:
            return await house.models() == ["other"] and len(house.pids("matrixinfer", "agent")) == 1

        await eventually(only_the_other, timeout_s=15.0)
