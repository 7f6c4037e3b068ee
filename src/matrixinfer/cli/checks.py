"""What `doctor` looks at, one check a function: each tells what it found, and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx

from matrixinfer import __version__
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.cluster_client import ClusterClient
from matrixinfer.bus.contracts.codec import decode, encode
from matrixinfer.bus.contracts.control import Done, Order, Ping, Reply
from matrixinfer.bus.errors import BusError, NobodyThere
from matrixinfer.bus.jetstream import connect, drift
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.subjects import parse_key
from matrixinfer.cli.dispatch_checks import dispatch_findings
from matrixinfer.cli.findings import Finding
from matrixinfer.cli.leftovers import leftovers
from matrixinfer.cli.tables import condition, pod_state
from matrixinfer.up.record import Record

AGENT_LABEL = "matrixinfer.ai/agent"
ANSWER_S = 2.0
RENEWAL_S = 2.5
"""Longer than the time between two renewals of any lease."""

LOOK_EVERY_S = 0.25


async def examine(record: Record | None, url: str | None, bus_url: str | None) -> AsyncIterator[Finding]:
    """All checks, in the order in which one failure explains the next."""
    if record is None and bus_url is None:
        yield Finding("wrong", "platform", "none runs on this machine", "start one with `matrixinfer up`, or use --bus")
        return
    yield version(record)
    if record is not None and not record.bus_url and bus_url is None:
        yield Finding("wrong", "bus", "it is just starting", "try again in a moment; see nats/nats-server.log")
        return
    settings = settings_of(record, bus_url)
    try:
        bus = await connect(settings, SystemClock(), declare=False)
    except BusError as error:
        yield Finding("wrong", "bus", str(error), "is nats-server running? its log is in the data folder under nats/")
        return
    try:
        async for finding in on_bus(bus, settings):
            yield finding
    finally:
        await bus.link.close()
    yield await gateway(url or (record.gateway_url if record else None))


def version(record: Record | None) -> Finding:
    if record is None:
        return Finding("note", "version", f"{__version__} (this command)")
    if record.version != __version__:
        text = f"this command is {__version__}, the platform is {record.version}"
        return Finding("wrong", "version", text, "stop the platform and start it again with this version")
    return Finding("fine", "version", f"{__version__}, `up` is process {record.pid}")


def settings_of(record: Record | None, bus_url: str | None) -> BusSettings:
    """A patience of some seconds: a doctor tells soon that nobody answers."""
    prefix = record.bus_prefix if record is not None else BusSettings().prefix
    url = bus_url or (record.bus_url if record is not None else "")
    return BusSettings(url=url, prefix=prefix, name="doctor", connect_timeout_s=3.0)


async def on_bus(bus: Bus, settings: BusSettings) -> AsyncIterator[Finding]:
    """Everything that is asked over the bus."""
    yield Finding("fine", "bus", f"{settings.url.rpartition('@')[2]}, its API level suffices")
    yield await topology(settings)
    async for finding in leftovers(bus, settings):
        yield finding
    for role, log in (("dispatcher", "handlers.log"), ("node", "node.log")):
        async for finding in alive(bus, role, log):
            yield finding
    async for finding in dispatch_findings(bus):
        yield finding
    try:
        pods = await ClusterClient(bus).list("pods")
        models = await ClusterClient(bus).list("models")
    except BusError as error:
        advice = "look at handlers.log; `matrixinfer handlers` starts them by hand"
        yield Finding("wrong", "handlers", f"the cluster's door does not answer: {error}", advice)
        return
    yield Finding("fine", "handlers", "the cluster's door answers")
    yield claims(pods)
    for pod in pods:
        yield await agent(bus, pod)
    for model in models:
        yield model_finding(model)


async def topology(settings: BusSettings) -> Finding:
    """Does the server have what this version expects?"""
    try:
        differences = await drift(settings, SystemClock())
    except BusError as error:
        return Finding("wrong", "topology", f"cannot be read: {error}", "connect with the operator's user")
    if not differences:
        return Finding("fine", "topology", "streams and buckets are as this version expects")
    advice = "restart the handlers: they mend what can be mended; storage and retention only by deleting the stream"
    return Finding("wrong", "topology", "; ".join(differences), advice)


async def alive(bus: Bus, role: str, log: str) -> AsyncIterator[Finding]:
    """Is every process of that role alive, and at least one? One that hangs, or starts again and again, has a lease
    for a while, but does not renew it."""
    try:
        async with asyncio.timeout(2 * ANSWER_S):
            held = await renewed(bus, f"{role}.")
    except (BusError, TimeoutError) as error:
        yield Finding("wrong", role, f"the leases cannot be read: {str(error) or type(error).__name__}", "see topology")
        return
    if not held:
        yield Finding("wrong", role, f"no {role} is alive", f"is it running? look at {log}")
    for lease, is_renewed in held.items():
        name = ".".join(parse_key(lease)[1:])
        if is_renewed:
            yield Finding("fine", role, f"{name} is alive")
        else:
            text = f"{name} does not renew its lease: it hangs, died a moment ago, or starts again and again"
            yield Finding("wrong", role, text, f"look at {log}; restart it when it hangs")


async def renewed(bus: Bus, prefix: str) -> dict[str, bool]:
    """Each lease below `prefix`, and whether the one who held it first also renewed it within some time. Nobody at all
    is looked for a second time: a process may just be taking its lease."""
    owners, revisions = await bus.leases.holders(prefix), await _revisions(bus, prefix)
    seen: dict[str, bool] = dict.fromkeys(owners, False)
    for _ in range(int(RENEWAL_S / LOOK_EVERY_S)):
        if seen and all(seen.values()):
            break
        await bus.clock.sleep(LOOK_EVERY_S)
        owners_now, revisions_now = await bus.leases.holders(prefix), await _revisions(bus, prefix)
        for name, owner in owners_now.items():
            is_same = owners.setdefault(name, owner) == owner
            is_later = revisions_now.get(name, 0) > revisions.setdefault(name, revisions_now.get(name, 0))
            seen[name] = seen.get(name, False) or (is_same and is_later)
    return seen


async def _revisions(bus: Bus, prefix: str) -> dict[str, int]:
    entries = await bus.store("LEASES").entries(prefix.rstrip("."))
    return {name: entry.revision for name, entry in entries.items()}


def claims(pods: list[dict[str, Any]]) -> Finding:
    """A pod that nobody took tells that no node runs."""
    unclaimed = [pod["metadata"]["name"] for pod in pods if not pod["spec"].get("nodeName")]
    if unclaimed:
        text = f"nobody runs {', '.join(unclaimed)}"
        return Finding("wrong", "pods", text, "is the node running? look at node.log")
    return Finding("fine", "pods", f"all {len(pods)} pods are taken")


async def agent(bus: Bus, pod: dict[str, Any]) -> Finding:
    """Is the pod ready, and does its agent answer?"""
    metadata = pod["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}"
    ready = condition(pod, "Ready")
    if (metadata.get("labels") or {}).get(AGENT_LABEL) == "true":
        try:
            order: Order = Ping()
            subject = bus.subjects.control(metadata["namespace"], metadata["name"])
            done: Reply = decode(await bus.signals.request(subject, encode(order), timeout_s=ANSWER_S), Reply)  # type: ignore[arg-type]
        except NobodyThere:
            log = "its log is in the data folder under logs/pods/"
            return Finding("wrong", "pod", f"{name}: {pod_state(pod)}, no agent listens", log)
        except BusError as error:
            return Finding("wrong", "pod", f"{name}: its agent does not answer: {error}", "it hangs: restart its pod")
        boot = f", boot {done.boot}" if isinstance(done, Done) else ""
        if ready.get("status") == "True":
            return Finding("fine", "pod", f"{name}: ready, its agent answers{boot}")
    if ready.get("status") == "True":
        return Finding("fine", "pod", f"{name}: ready")
    why = ready.get("message") or pod_state(pod)
    return Finding("wrong", "pod", f"{name}: not ready: {why}", f"matrixinfer get pod {metadata['name']} -o yaml")


def model_finding(model: dict[str, Any]) -> Finding:
    name = model["metadata"]["name"]
    available = condition(model, "Available")
    if available.get("status") == "True":
        return Finding("fine", "model", f"{name}: available")
    why = available.get("message") or available.get("reason") or "no status yet"
    return Finding("wrong", "model", f"{name}: not available: {why}", f"matrixinfer get model {name} -o yaml")


async def gateway(url: str | None) -> Finding:
    if url is None:
        return Finding("note", "gateway", "not looked at", "name it with --url")
    try:
        async with httpx.AsyncClient(timeout=ANSWER_S) as client:
            ready, models = await asyncio.gather(client.get(f"{url}/readyz"), client.get(f"{url}/v1/models"))
    except httpx.HTTPError as error:
        text = f"{url} does not answer: {str(error) or type(error).__name__}"
        return Finding("wrong", "gateway", text, "look at gateway.log")
    if not ready.is_success:
        return Finding("wrong", "gateway", f"{url} is not ready: {ready.text.strip()}", "look at gateway.log")
    served = ", ".join(model["id"] for model in models.json().get("data", ())) if models.is_success else "unknown"
    return Finding("fine", "gateway", f"{url} serves {served or 'no model'}")
