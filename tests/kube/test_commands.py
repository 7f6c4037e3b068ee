"""The commands about objects on a real API server: what is said of them, before, while and after they change."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

from support.commands import Commands, Lines
from support.kube import ControlPlane

MODEL = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: %s}
spec: {backends: [{name: a, type: Simulated, minReplicas: %d}]}
"""
MODELS = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/models"


@pytest.fixture
async def run(control_plane: ControlPlane) -> Commands:
    await asyncio.to_thread(control_plane.empty)
    return Commands("--kubeconfig", str(control_plane.kubeconfig))


async def test_a_dry_run_is_the_servers_own_and_changes_nothing(run, control_plane, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(MODEL % (name, 1))
    told = await run("apply", "-f", str(tmp_path), "--dry-run")
    assert told == "model/one created (dry run)\nmodel/two created (dry run)\n"
    assert (await asyncio.to_thread(control_plane.ask, "GET", MODELS))["items"] == []
    assert await run("apply", "-f", "-", stdin=MODEL % ("one", 1)) == "model/one created\n"
    (tmp_path / "one.yaml").write_text(MODEL % ("one", 2))
    told = await run("apply", "-f", str(tmp_path), "--dry-run")
    assert told == "model/one configured (dry run)\nmodel/two created (dry run)\n"


async def test_changes_are_shown_as_they_come_until_ctrl_c(run):
    await run("apply", "-f", "-", stdin=MODEL % ("one", 1))
    as_json = ("get", "model", "-o", "json", "-w", "--output-watch-events")
    async with run.watching("get", "models", "-w") as rows, run.watching(*as_json) as events:
        await rows.until("NAME", "AGE")
        await rows.until("one")
        assert json.loads(await events.until("one"))["type"] == "ADDED"
        await run("apply", "-f", "-", stdin=MODEL % ("one", 2))
        await rows.until("one", "0/2")
        event = json.loads(await events.until("one"))
        assert (event["type"], event["object"]["spec"]["backends"][0]["minReplicas"]) == ("MODIFIED", 2)
        await run("delete", "model", "one")
        await rows.until("one", "(deleted)")
        assert json.loads(await events.until("one"))["type"] == "DELETED"


async def test_a_deletion_is_waited_for_as_long_as_somebody_holds_it(run, control_plane):
    model = yaml.safe_load(MODEL % ("held", 1))
    model["metadata"]["finalizers"] = ["example.com/held"]
    await asyncio.to_thread(control_plane.ask, "POST", MODELS, model)
    told = await run("delete", "model", "held", "--wait", "--timeout", "0.5", code=1)
    assert "model/held is still there after 0.5 s" in told
    process = await run.started("delete", "model", "held", "--wait")
    assert process.stdout is not None
    await Lines(process.stdout).until("model/held deleted")
    held = await asyncio.to_thread(control_plane.ask, "GET", f"{MODELS}/held")
    held["metadata"]["finalizers"] = []
    assert process.returncode is None
    await asyncio.to_thread(control_plane.ask, "PUT", f"{MODELS}/held", held)
    assert await process.wait() == 0
    assert "there is no model 'held'" in await run("get", "model", "held", "-w", code=1)
