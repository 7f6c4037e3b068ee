"""A new template, more and fewer groups, under constant traffic: no stream breaks, and nobody is refused."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.clients import SteadyLoad
from support.eventually import eventually
from support.house import House

TOKENS = 60
MANIFEST = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: rolls}
spec:
  backends:
    - name: main
      type: Simulated
      minReplicas: REPLICAS
      config: {slots: 32, decode_step_s: 0.02, decode_step_per_request_s: 0, kv_capacity_tokens: CAPACITY}
"""

pytestmark = pytest.mark.timeout(150)


class Model:
    """What people do with it from the command line."""

    def __init__(self, house: House, folder: Path) -> None:
        self._house = house
        self._file = folder / "rolls.yaml"

    def write(self, replicas: int, capacity_tokens: int) -> Path:
        self._file.write_text(MANIFEST.replace("REPLICAS", str(replicas)).replace("CAPACITY", str(capacity_tokens)))
        return self._file

    async def apply(self, replicas: int, capacity_tokens: int) -> None:
        await self._run("apply", "-f", str(self.write(replicas, capacity_tokens)))

    async def pods(self) -> dict[str, str]:
        """Of each Pod that stays its uid."""
        listed = json.loads(await self._run("get", "pods", "-o", "json"))["items"]
        metadata = [pod["metadata"] for pod in listed]
        return {each["name"]: each["uid"] for each in metadata if not _leaves(each)}

    async def is_settled(self, replicas: int) -> bool:
        infer = json.loads(await self._run("get", "modelinfer", "rolls-main", "-o", "json"))
        status = infer["status"]
        is_current = status["observedGeneration"] == infer["metadata"]["generation"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        gone = len(json.loads(await self._run("get", "pods", "-o", "json"))["items"]) == replicas
        return is_current and counts == [replicas] * 3 and gone

    async def _run(self, *words: str) -> str:
        command = [sys.executable, "-m", "matrixinfer", *words, "--data", str(self._house.data_dir)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0, f"{words} ended with {process.returncode}"
        return output.decode()


def _leaves(metadata: dict[str, Any]) -> bool:
    return "deletionTimestamp" in metadata or "matrixinfer.ai/drain-since" in metadata.get("annotations", {})


async def test_rolling_updates_and_scaling_break_no_stream_and_refuse_nobody(tmp_path: Path) -> None:
    manifest = tmp_path / "rolls.yaml"
    manifest.write_text(MANIFEST.replace("REPLICAS", "3").replace("CAPACITY", "100000"))
    async with House(tmp_path / "data", "-f", str(manifest)) as house:
        model = Model(house, tmp_path)
        before = await model.pods()
        assert len(before) == 3
        load = SteadyLoad(house.url, model="rolls", tokens=TOKENS, every_s=0.1)
        async with load.running():
            await model.apply(3, 100_001)
            await eventually(lambda: model.is_settled(3), timeout_s=60, every_s=0.3)
            after = await model.pods()
            assert after.keys() == before.keys()
            assert not set(after.values()) & set(before.values()), "each was replaced"
            await model.apply(1, 100_001)
            await eventually(lambda: model.is_settled(1), timeout_s=30, every_s=0.3)
            await model.apply(1, 100_002)
            await eventually(lambda: model.is_settled(1), timeout_s=30, every_s=0.3)
        assert len(load.answers) > 50
        assert load.unanswered() == []
