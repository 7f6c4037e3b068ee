"""`apply`, `get -w`, `delete` and `logs` as people use them, on a platform that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from support.commands import Commands
from support.eventually import eventually
from support.house import House

INFER = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelInfer
metadata: {name: %s}
spec:
  template:
    roles:
      - name: server
        entryTemplate: {spec: {containers: [{name: c, command: [sh, -c, "%s"]}]}}
"""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Commands]:
    folder: Path = tmp_path_factory.mktemp("commands")
    async with House(folder / "data", "--engine", "simulated") as house:
        yield Commands("--data", str(house.data_dir))


async def test_files_folders_and_stdin_are_applied_together_or_not_at_all(run: Commands, tmp_path: Path) -> None:
    below = tmp_path / "more" / "below"
    below.mkdir(parents=True)
    (tmp_path / "one.yaml").write_text(INFER % ("one", "sleep 1000"))
    (tmp_path / "more" / "two.yml").write_text(INFER % ("two", "sleep 1000"))
    (below / "three.yaml").write_text(INFER % ("three", "sleep 1000"))
    (below / "notes.txt").write_text("no manifest")
    sources = ("-f", str(tmp_path / "one.yaml"), "-f", str(tmp_path / "more"), "-R", "-f", "-")
    names = ("one", "three", "two", "four")
    told = await run("apply", *sources, "--dry-run", stdin=INFER % ("four", "sleep 1000"))
    assert told == "".join(f"modelinfer/{name} created (dry run)\n" for name in names)
    (below / "three.yaml").write_text((INFER % ("three", "sleep 1000")).replace("roles", "rolls"))
    told = await run("apply", *sources, stdin=INFER % ("four", "sleep 1000"), code=1)
    assert f"{below / 'three.yaml'}: document 1 (ModelInfer three): spec.template.rolls: unknown field" in told
    assert await run("get", "modelinfer/one", code=1)
    (below / "three.yaml").write_text(INFER % ("three", "sleep 1000"))
    told = await run("apply", *sources, stdin=INFER % ("four", "sleep 1000"))
    assert told == "".join(f"modelinfer/{name} created\n" for name in names)
    (tmp_path / "one.yaml").write_text(INFER % ("one", "sleep 2000"))
    told = await run("apply", *sources, "--dry-run", stdin=INFER % ("four", "sleep 1000"))
    assert "modelinfer/one configured (dry run)\nmodelinfer/three unchanged (dry run)" in told
    await run("delete", *sources, "--wait", "--timeout", "60", stdin=INFER % ("four", "sleep 1000"))
    left = await run("get", "pods", "-o", "yaml")
    assert not any(f"{name}-0-server" in left for name in names), "with --wait their pods are gone too"


async def test_changes_are_shown_as_they_come_until_ctrl_c(run: Commands) -> None:
    async with (
        run.watching("get", "pods", "-w") as rows,
        run.watching("get", "modelinfer", "-o", "yaml", "-w") as documents,
    ):
        await rows.until("NAME", "STATUS")
        await documents.until("kind: ModelInfer")
        await run("apply", "-f", "-", stdin=INFER % ("seen", "sleep 1000"))
        assert await documents.until("---") == "---\n"
        await documents.until("name: seen")
        await rows.until("seen-0-server-0-0", "1/1", "Running")
        assert "Conditions:" in await run("describe", "modelinfer/seen")
        assert "say which modelinfer" in await run("describe", "modelinfer", code=1)
        await run("delete", "modelinfer/seen", "--wait")
        await rows.until("seen-0-server-0-0", "(deleted)")


async def test_the_log_of_the_run_before_is_kept(run: Commands, tmp_path: Path) -> None:
    mark = tmp_path / "crashed"
    command = f"test -e {mark} && echo well && exec sleep 1000; touch {mark}; echo it crashed; exit 3"
    await run("apply", "-f", "-", stdin=INFER % ("again", command))
    pod = "again-0-server-0-0"

    async def is_well() -> bool:
        (found,) = [one for one in yaml.safe_load(await run("get", "pods", "-o", "yaml"))["items"] if pod in str(one)]
        (container,) = found.get("status", {}).get("containerStatuses", [{}])
        return "running" in container.get("state", {}) and container["restartCount"] >= 1

    await eventually(is_well, timeout_s=30, every_s=0.3)
    await eventually(lambda: _says(run, "well\n", "logs", pod), timeout_s=10, every_s=0.2)
    assert await run("logs", pod, "--previous") == "it crashed\n"
    assert "leave out --follow" in await run("logs", pod, "--previous", "-f", code=1)
    async with run.watching("logs", pod, "-f") as lines:
        assert await lines.until("well") == "well\n"
    await run("delete", "modelinfer", "again", "--wait")
    told = await run("logs", "simulated-main-0-server-0-0", "--previous", code=1)
    assert "has no log of a run before this one" in told


async def _says(run: Commands, text: str, *words: str) -> bool:
    return await run(*words) == text
