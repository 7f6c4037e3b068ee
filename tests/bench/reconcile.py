"""Looks of the ModelInfer reconciler at what is as it should be, beside only reading the same objects from JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import SCHEDULER, PodGroup
from matrixinfer.handlers.api.service import Service
from matrixinfer.handlers.reconcile import modelinfer
from matrixinfer.handlers.reconcile.infer.companions import Around
from support.rolling import Rolling, role

BUDGET_MS = 50


def main(console: Console) -> None:
    table = Table(title="ModelInfers as they should be; CPU ms of one look")
    for title in ("", "one look", "of reading them", "budget"):
        table.add_column(title)
    table.add_row("one with 256 pods", *_measured(Rolling(replicas=256), 1, times=20), str(BUDGET_MS))
    table.add_row(
        "one with 256 pods, Services, PodGroups, plug-ins", *_measured(_rich(64), 1, times=20), str(BUDGET_MS)
    )
    table.add_row("1,000 with one pod each", *_measured(Rolling(replicas=1), 1000, times=1), "")
    console.print(table)
    console.print(_requests())


def _requests() -> Table:
    """Counted on values; tests/kube counts what a real API server is asked, at rest too."""
    table = Table(title="requests to the API server for a change of a ModelInfer with 8 pods")
    for title in ("", "requests", "for each pod made or deleted"):
        table.add_column(title)
    it = Rolling(replicas=8)
    changes: list[tuple[str, int, dict[str, Any]]] = [
        ("made", 8, {}),
        ("one more", 1, {"replicas": 9}),
        ("one fewer", 1, {"replicas": 8}),
        ("another template, one at a time", 16, {"command": "two"}),
        ("looked at again", 0, {}),
    ]
    for title, pods, spec in changes:
        before = it.world.requests
        it.write(**spec)
        it.settle()
        count = it.world.requests - before
        table.add_row(title, str(count), f"{count / pods:.1f}" if pods else "")
    return table


def _rich(groups: int) -> Rolling:
    """Each with an entry and three workers, and with all that can stand around them."""
    template = {"roles": [role(workers=3)], "gangPolicy": {}, "networkTopology": {"groupPolicy": {}}}
    plugins = [{"name": "lws-standard-labels"}, {"name": "pod-metadata", "config": {"labels": {"team": "a"}}}]
    it = Rolling(replicas=groups, template=template, plugins=plugins, schedulerName=SCHEDULER)
    it.world.serves_pod_groups = True
    return it


def _measured(it: Rolling, objects: int, *, times: int) -> tuple[str, str]:
    """Milliseconds, and the ratio to reading the Pods alone."""
    it.settle()
    infer, found = it.infer, it.pods()
    records = it.world.all(ControllerRevision)
    around = Around(tuple(it.world.all(Service)), tuple(it.world.all(PodGroup)), it.world.serves_pod_groups)
    bodies = [json.dumps(pod.to_json()) for pod in found]

    def look() -> None:
        for _ in range(objects):
            plan = modelinfer.decide(infer, found, records, it.world.loads, now=it.world.now, around=around)
            assert plan.is_empty

    def read() -> None:
        for _ in range(objects):
            for body in bodies:
                Pod.read(json.loads(body))

    look_ms, read_ms = _cpu_ms(look, times), _cpu_ms(read, times)
    return f"{look_ms:.1f}", f"{look_ms / read_ms:.2f}"


def _cpu_ms(work: Callable[[], None], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1000
