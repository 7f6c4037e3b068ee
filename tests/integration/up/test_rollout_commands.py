"""`scale` and `rollout` as people use them, on a platform that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.commands import Commands
from support.eventually import eventually
from support.house import House

INFER = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelInfer
metadata: {name: groups}
spec:
  replicas: 1
  template:
    roles:
      - name: server
        entryTemplate: {spec: {containers: [{name: c, command: [sleep, "WORD"]}]}}
"""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


class Groups(Commands):
    def __init__(self, house: House, folder: Path) -> None:
        super().__init__("--data", str(house.data_dir))
        self._manifest = folder / "groups.yaml"

    async def apply(self, word: str) -> None:
        self._manifest.write_text(INFER.replace("WORD", word))
        await self("apply", "-f", str(self._manifest))

    async def words(self) -> list[str]:
        listed = await self("get", "pods", "-o", "yaml")
        return sorted(line.strip(" -'\"") for line in listed.splitlines() if line.strip(" -'\"").isdigit())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Groups]:
    folder: Path = tmp_path_factory.mktemp("commands")
    async with House(folder / "data", "--engine", "simulated") as house:
        yield Groups(house, folder)


async def test_a_template_is_rolled_out_held_and_taken_back(run: Groups) -> None:
    await run.apply("1001")
    assert "1 of 1 groups up to date, 1 ready" in await run("rollout", "status", "mi/groups", "--timeout", "30")
    assert await run("rollout", "pause", "mi/groups") == "modelinfer/groups paused\n"
    await run.apply('1002"]}]}}\n  rolloutStrategy: {paused: true}\n#')
    assert "paused" in await run("rollout", "status", "mi/groups", "--timeout", "30", code=1)
    assert "1001" in await run.words()
    await run("rollout", "resume", "mi/groups")
    await run("rollout", "status", "mi/groups", "--timeout", "30")
    assert "1002" in await run.words()
    history = await run("rollout", "history", "mi/groups")
    assert [line.split()[1] for line in history.splitlines()[1:]] == ["1", "2"]
    assert await run("rollout", "undo", "mi/groups") == "modelinfer/groups rolled back to revision 1\n"
    await run("rollout", "status", "mi/groups", "--timeout", "30")
    assert "1001" in await run.words()
    assert "has no revision 9" in await run("rollout", "undo", "mi/groups", "--to-revision", "9", code=1)


async def test_groups_and_backends_are_scaled(run: Groups) -> None:
    assert await run("scale", "model/simulated", "--replicas", "2") == "model/simulated scaled\n"
    await run("rollout", "status", "model/simulated", "--timeout", "30")

    async def has_pods(count: int) -> bool:
        return (await run("get", "pods")).count("simulated-main-") == count

    assert await has_pods(2)
    told = await run("describe", "model", "simulated")
    assert "Available=True" in told
    assert "Pod simulated-main-1-server-0-0  Running" in told
    assert "agent" in await run("logs", "simulated-main-1-server-0-0", "--tail", "50")
    assert "has no log on this machine" in await run("logs", "nobody", code=1)
    assert "expected one of agent" in await run("logs", "simulated-main-1-server-0-0", "-c", "x", code=1)
    assert "is what Model simulated wants" in await run("scale", "mi/simulated-main", "--replicas", "1", code=1)
    await run("scale", "model/simulated", "--replicas", "1")
    await eventually(lambda: has_pods(1), timeout_s=30, every_s=0.5)
    assert "there is no modelinfer/none" in await run("scale", "mi/none", "--replicas", "1", code=1)
