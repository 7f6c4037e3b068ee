"""What every folder of tests may ask for: one Kubernetes control plane for the whole run, and which tests of a run in
several processes stay together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from matrixinfer.handlers.api.crds.render import our_kinds, rendered
from support import kube


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses the control plane runs in one process, so that there is one; its first test waits for the start too.
    Of the others a file stays together, as its fixtures may be the module's."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(240))
            item.add_marker(pytest.mark.xdist_group("control plane"))
        else:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kube.ControlPlane]:
    """Started when the first test asks for it. Skips, with the reason, where its programs are not."""
    if why := kube.missing():
        pytest.skip(why)
    plane = kube.ControlPlane(tmp_path_factory.mktemp("kubernetes"))
    try:
        plane.start([rendered(kind) for kind in our_kinds()])
        yield plane
    finally:
        plane.stop()
