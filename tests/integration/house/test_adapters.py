"""LoRA adapters come and go while a model serves: clients find them by name, and no Pod is replaced."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from support.eventually import eventually
from support.house import House

pytestmark = pytest.mark.timeout(120)


def manifest(folder: Path, *adapters: str) -> str:
    for name in adapters:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "adapter.safetensors").write_bytes(b"weights")
    backend = {
        "name": "main",
        "type": "Simulated",
        "minReplicas": 2,
        "config": {"slots": 4, "decode_step_s": 0.001},
        "loraAdapters": [{"name": name, "artifactURL": f"file://{folder / name}"} for name in adapters],
    }
    return yaml.safe_dump(
        {
            "apiVersion": "matrixinfer.ai/v1alpha1",
            "kind": "Model",
            "metadata": {"name": "base"},
            "spec": {"backends": [backend]},
        }
    )


class Client:
    def __init__(self, house: House) -> None:
        self._house = house

    async def status(self, model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.post(
                f"{self._house.url}/v1/chat/completions", json=body, headers={"x-request-timeout-s": "5"}
            )
        if answer.status_code == 200:
            assert answer.json()["model"] == model
        return answer.status_code

    async def pods(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in json.loads(await self.run("get", "pods", "-o", "json"))["items"]}

    async def run(self, *words: str) -> str:
        command = [sys.executable, "-m", "matrixinfer", *words, "--data", str(self._house.data_dir)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0, f"{words} ended with {process.returncode}"
        return output.decode()


async def test_an_adapter_is_served_as_soon_as_it_is_named_and_gone_when_it_is_not(tmp_path: Path) -> None:
    file = tmp_path / "base.yaml"
    file.write_text(manifest(tmp_path, "french"))
    async with House(tmp_path / "data", "-f", str(file)) as house:
        client = Client(house)

        async def answers(model: str, status: int) -> bool:
            return await client.status(model) == status

        await eventually(lambda: answers("french", 200), timeout_s=20, every_s=0.1)
        assert await client.status("base") == 200
        before = await client.pods()
        file.write_text(manifest(tmp_path, "german", "dutch"))
        await client.run("apply", "-f", str(file))
        await eventually(lambda: answers("german", 200), timeout_s=20, every_s=0.1)
        await eventually(lambda: answers("dutch", 200), timeout_s=20, every_s=0.1)
        await eventually(lambda: answers("french", 404), timeout_s=20, every_s=0.1)
        assert await client.status("base") == 200
        assert await client.pods() == before
        assert set(await house.models()) == {"base", "german", "dutch"}
