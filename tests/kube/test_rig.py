"""The control plane of the tests leaves nothing behind, however the tests end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

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
    tests = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    house = tests.stdout.readline().strip()
    (server,) = members(house)
    tests.kill()
    tests.communicate()
    psutil.wait_procs([server], timeout=20)
    assert members(house) == []
