"""The example of a policy, on the platform as its users start it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.eventually import eventually
from support.house import House

pytestmark = pytest.mark.timeout(120)
EXAMPLE = ROOT / "examples" / "autoscaling.yaml"


async def test_the_command_line_tells_what_a_policy_scales(tmp_path: Path) -> None:
    async with House(tmp_path / "house", "-f", str(EXAMPLE)) as house:

        def told(*words: str) -> str:
            command = [sys.executable, "-m", "matrixinfer", *words, "--data", str(house.data_dir)]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        async def is_within_bounds() -> bool:
            return "WithinBounds" in told("get", "aspb")

        await eventually(is_within_bounds, timeout_s=20, every_s=1)
        (_, binding) = told("get", "aspb").splitlines()
        assert "elastic 2 (1-4)" in binding
        assert "not " not in binding
        assert "elastic  2 replicas" in told("describe", "autoscalingpolicybinding", "elastic")
        (_, policy) = told("get", "autoscalingpolicies").splitlines()
        assert "waiting=4" in policy
        assert "Accepted" in policy
