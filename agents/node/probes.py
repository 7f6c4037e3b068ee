"""When a container counts as started, ready and alive: probes as Kubernetes has them. Pure; `prober` asks.

Until the startup probe has succeeded nothing else is asked. A readiness probe decides whether the container is ready; a
liveness or startup probe that failed often enough decides that it is started again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from matrixinfer.agents.node.checks import Check, read_check
from matrixinfer.agents.node.shapes import Object, count, part, seconds

DEFAULT_PERIOD_S = 10.0
DEFAULT_TIMEOUT_S = 1.0
SHORTEST_PERIOD_S = 0.01
"""Nobody's probe keeps the node from everything else."""


@dataclass(frozen=True)
class Probe:
    check: Check
    delay_s: float = 0.0
    period_s: float = DEFAULT_PERIOD_S
    timeout_s: float = DEFAULT_TIMEOUT_S
    successes: int = 1
    failures: int = 3
    grace_s: float | None = None
    """How long the container may take to end when this probe has failed; None: as long as its Pod says."""


@dataclass(frozen=True)
class Probes:
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None

    def __bool__(self) -> bool:
        return any((self.startup, self.readiness, self.liveness))


NO_PROBES = Probes()


@dataclass(frozen=True)
class Health:
    """What is known of one life of a container. `failing`: it shall end, within `grace_s` should that be said. `why`
    tells of the first failure in a row, for people: every other would be news each time."""

    started: bool = True
    ready: bool = True
    failing: bool = False
    why: str = ""
    grace_s: float | None = None


WELL = Health()
BEFORE_POST_START = Health(started=False, ready=False, why="its postStart runs")


@dataclass(frozen=True)
class Tally:
    """How often in a row a probe has succeeded or failed."""

    successes: int = 0
    failures: int = 0


def read_probes(container: Object, ports: Iterable[Object]) -> Probes:
    """Raises ValueError for a probe that this node cannot ask."""
    ports = list(ports)
    return Probes(
        _read_probe(container, "startupProbe", ports),
        _read_probe(container, "readinessProbe", ports),
        _read_probe(container, "livenessProbe", ports),
    )


def _read_probe(container: Object, name: str, ports: Iterable[Object]) -> Probe | None:
    check = read_check(container, name, ports)
    if check is None:
        return None
    item = part(container, name)
    try:
        return Probe(
            check,
            delay_s=seconds(item, "initialDelaySeconds", 0),
            period_s=max(seconds(item, "periodSeconds", 0) or DEFAULT_PERIOD_S, SHORTEST_PERIOD_S),
            timeout_s=seconds(item, "timeoutSeconds", 0) or DEFAULT_TIMEOUT_S,
            successes=count(item, "successThreshold", 1),
            failures=count(item, "failureThreshold", 3),
            grace_s=seconds(item, "terminationGracePeriodSeconds", 0) if _has_grace(item) else None,
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _has_grace(item: Object) -> bool:
    return item.get("terminationGracePeriodSeconds") is not None


def at_first(probes: Probes, *, was_started: bool = False, was_ready: bool = False) -> Health:
    """What a former node has said of this very life stands until a probe fails."""
    started = probes.startup is None or was_started
    return Health(started=started, ready=started and (probes.readiness is None or was_ready))


def counted(tally: Tally, is_well: bool) -> Tally:
    return Tally(successes=tally.successes + 1) if is_well else Tally(failures=tally.failures + 1)


def after_startup(probes: Probes, tally: Tally, health: Health, why: str) -> Health:
    """`tally` of the startup probe, `why` of its last failure."""
    probe = probes.startup
    assert probe is not None
    if tally.successes >= 1:
        return replace(health, started=True, ready=probes.readiness is None, why="")
    is_failing = tally.failures >= probe.failures
    return replace(health, failing=is_failing, why=health.why or f"startup probe: {why}", grace_s=probe.grace_s)


def after_readiness(probe: Probe, tally: Tally, health: Health, why: str) -> Health:
    if tally.successes >= probe.successes:
        return replace(health, ready=True, why="")
    if tally.failures >= probe.failures:
        return replace(health, ready=False, why=health.why or f"readiness probe: {why}")
    return health


def after_liveness(probe: Probe, tally: Tally, health: Health, why: str) -> Health:
    if tally.failures >= probe.failures:
        return replace(health, failing=True, why=f"liveness probe: {why}", grace_s=probe.grace_s)
    return health
