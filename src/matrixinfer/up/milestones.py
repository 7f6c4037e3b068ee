"""When is the platform ready? Each function waits for one milestone, and says meanwhile how far it is.

They wait for ever: who calls them knows when a part died, or when the person lost patience.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.cluster_client import ClusterClient
from matrixinfer.bus.errors import BusError, NobodyThere, TimedOut, Unavailable
from matrixinfer.bus.subjects import escape
from matrixinfer.handlers.api.labels import MODELINFER
from matrixinfer.up.child import last_lines
from matrixinfer.up.errors import PartFailed

LOOK_S = 0.05
CRASHES_AT_START = 3
"""So many restarts of a pod before it was ready once, and the start has failed."""

Say = Callable[[str], None]
Wanted = Mapping[tuple[str, str], int]
"""Namespace and name of a ModelInfer → its pods."""


async def door_opens(bus: Bus) -> None:
    """The handlers answer on the cluster's door."""
    client = ClusterClient(bus, timeout_s=1.0)
    while True:
        try:
            await client.list("pods")
            return
        except (NobodyThere, TimedOut, Unavailable):
            await bus.clock.sleep(LOOK_S)


async def gateway_listens(url: str, clock: Clock) -> None:
    """The gateway takes connections and has the bus."""
    async with httpx.AsyncClient(timeout=2.0) as client:
        while True:
            try:
                if (await client.get(f"{url}/readyz")).is_success:
                    return
            except httpx.HTTPError:
                pass
            await clock.sleep(LOOK_S)


async def pods_claimed(bus: Bus, wanted: Wanted) -> None:
    """The controllers made the pods, and the node took them."""
    while _missing(wanted, [pod for pod in await _pods(bus, wanted) if pod["spec"].get("nodeName")]):
        await bus.clock.sleep(LOOK_S)


async def pods_ready(bus: Bus, wanted: Wanted, logs: Path, say: Say) -> None:
    """All these pods take work. Raises PartFailed, with the end of its log, when one ends again and again."""
    total = sum(wanted.values())
    while True:
        pods = await _pods(bus, wanted)
        missing = _missing(wanted, [pod for pod in pods if is_ready(pod)])
        say(f"{total - missing} of {total} ready")
        if not missing:
            return
        for pod in pods:
            _check(pod, logs)
        await bus.clock.sleep(LOOK_S)


async def models_listed(url: str, models: list[str], clock: Clock) -> None:
    """The gateway knows every model."""
    async with httpx.AsyncClient(timeout=2.0) as client:
        while True:
            response = await client.get(f"{url}/v1/models")
            if response.is_success and set(models) <= {model["id"] for model in response.json()["data"]}:
                return
            await clock.sleep(LOOK_S)


async def first_answer(url: str, model: str) -> None:
    """One token, asked for as any client would. Raises PartFailed with what the gateway said."""
    body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
    async with httpx.AsyncClient(timeout=120.0) as client:
        response = await client.post(f"{url}/v1/chat/completions", json=body)
    if not response.is_success:
        raise PartFailed(f"the first request to {model} was answered {response.status_code}: {response.text}")


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


async def _pods(bus: Bus, wanted: Wanted) -> list[dict[str, Any]]:
    """Those of the wanted ModelInfers; none while the handlers are away for a moment."""
    try:
        pods = await ClusterClient(bus).list("pods")
    except BusError:
        return []
    return [pod for pod in pods if _maker_of(pod) in wanted and not pod["metadata"].get("deletionTimestamp")]


def _maker_of(pod: dict[str, Any]) -> tuple[str, str]:
    metadata = pod["metadata"]
    return metadata["namespace"], str((metadata.get("labels") or {}).get(MODELINFER, ""))


def _missing(wanted: Wanted, pods: list[dict[str, Any]]) -> int:
    there = Counter(_maker_of(pod) for pod in pods)
    return sum(max(0, count - there[maker]) for maker, count in wanted.items())


def _check(pod: dict[str, Any], logs: Path) -> None:
    if is_ready(pod):
        return
    metadata, status = pod["metadata"], pod.get("status") or {}
    name = f"pod {metadata['namespace']}/{metadata['name']}"
    if status.get("phase") == "Failed":
        raise PartFailed(f"{name} failed: {status.get('message') or 'see its status'}")
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if container.get("restartCount", 0) >= CRASHES_AT_START - 1 and waiting.get("message"):
            log = logs / escape(metadata["namespace"]) / escape(metadata["name"]) / f"{escape(container['name'])}.log"
            raise PartFailed(f"{name} cannot start: {waiting['message']}\n{last_lines(log)}")
