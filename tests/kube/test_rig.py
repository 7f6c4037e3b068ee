"""The control plane of the tests leaves nothing behind, however the tests end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import support
from matrixinfer.reaper import members
from support import kube

RUN = """
import pathlib, sys, time
from support.kube import ControlPlane
plane = ControlPlane(pathlib.Path(sys.argv[1]))
plane.start_etcd()
print(plane.house, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(bool(kube.missing()), reason=kube.missing())
def test_nothing_is_left_when_the_tests_are_killed(tmp_path: Path) -> None:
    command, path = [sys.executable, "-c", RUN, str(tmp_path)], str(Path(support.__path__[0]).parent)
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as tests:
        assert tests.stdout is not None
        house = tests.stdout.readline().strip()
        (server,) = members(house)
        tests.kill()
    psutil.wait_procs([server], timeout=20)
    assert members(house) == []
