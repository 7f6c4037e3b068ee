"""The filter `role`."""

import pytest

from matrixinfer.handlers.dispatch.scheduling.filters.role import Role, RoleParameters
from support.scheduling import NOW, a_pod, a_request

PODS = [a_pod(role, role=role) for role in ("server", "prefill", "decode", "worker")]


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        (RoleParameters(), ["server", "decode", "worker"]),
        (RoleParameters(only=frozenset({"decode"})), ["decode"]),
        (RoleParameters(only=frozenset({"prefill"}), without=frozenset()), ["prefill"]),
        (RoleParameters(only=frozenset({"prefill"})), []),
        (RoleParameters(without=frozenset()), ["server", "prefill", "decode", "worker"]),
    ],
)
def test_pods_are_kept_by_their_role(parameters: RoleParameters, kept: list[str]):
    assert [pod.name for pod in Role(parameters).keep(a_request(), PODS, NOW)] == kept
