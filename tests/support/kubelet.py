"""A scheduler and a kubelet that only pretend: a Pod is bound to the one node, runs, is ready, and goes when told."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from matrixinfer.bus.clock import SystemClock
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp
from matrixinfer.handlers.cluster.kubernetes.adapter import KubernetesCluster
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.cluster.kubernetes.errors import Refused
from matrixinfer.handlers.cluster.kubernetes.requests import MERGE, path_of

NODE = "pretended"


class Kubelet:
    """`run` it until cancelled. `started` are the names of all that ever ran. Those in `held_back` stay pending until
    they are no longer in it and `look_again` is called."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._addresses = (f"10.1.{number // 250}.{number % 250 + 1}" for number in itertools.count())
        self.started: list[str] = []
        self.held_back: set[str] = set()
        self._cluster: KubernetesCluster | None = None

    async def run(self) -> None:
        clock = SystemClock()
        self._cluster = await KubernetesCluster.open(clock, kubeconfig=self._kubeconfig, kinds=[Pod])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cluster.run())
            async for change in self._cluster.watch([Pod]):
                if isinstance(change.after, Pod):
                    await self._handle(change.after)

    async def look_again(self) -> None:
        assert self._cluster is not None
        for pod in self._cluster.list(Pod):
            await self._handle(pod)

    async def fail(self, pod: str, namespace: str = "default") -> None:
        """Its container ended with an error and is not started again."""
        await self.say(pod, {"phase": "Failed", "conditions": _conditions("False"), "reason": "Error"}, namespace)

    async def say(self, pod: str, status: dict[str, Any], namespace: str = "default") -> None:
        """Any: a Pod's status."""
        assert self._cluster is not None
        found = self._cluster.get(Pod, namespace, pod)
        assert found is not None
        await self._report(found, status)

    async def _handle(self, pod: Pod) -> None:
        try:
            if pod.is_terminating:
                await self._connection.call("DELETE", path_of(pod), {"gracePeriodSeconds": "0"})
            elif not pod.spec.node_name:
                await self._connection.call("POST", path_of(pod, "binding"), body=_binding(pod))
            elif pod.status.phase == "Pending" and pod.metadata.name not in self.held_back:
                self.started.append(pod.metadata.name)
                await self._report(pod, self._running(pod))
        except Refused as refusal:
            if refusal.status not in (404, 409):
                raise  # what changed meanwhile comes again

    async def _report(self, pod: Pod, status: dict[str, Any]) -> None:
        await self._connection.call("PATCH", path_of(pod, "status"), body={"status": status}, content_type=MERGE)

    @property
    def _connection(self) -> Connection:
        assert self._cluster is not None
        return self._cluster.connection

    def _running(self, pod: Pod) -> dict[str, Any]:
        now = timestamp(SystemClock().now())
        containers = [
            {
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for container in pod.spec.containers
        ]
        where = {"podIP": next(self._addresses), "hostIP": "127.0.0.1", "startTime": now}
        return {"phase": "Running", "conditions": _conditions("True"), "containerStatuses": containers} | where


def _binding(pod: Pod) -> dict[str, Any]:
    target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.metadata.name}, "target": target}


def _conditions(is_ready: str) -> list[dict[str, str]]:
    now = timestamp(SystemClock().now())
    return [{"type": kind, "status": is_ready, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
