"""The life of one container as a value: what is written down, and how exits and starts change it."""

from __future__ import annotations

import signal
from typing import Annotated

import msgspec
from msgspec import Meta

from matrixinfer.agents.node.backoff import Backoff

UNKNOWN_EXIT = 137
"""What is reported when a process ended that was not this node's child: its exit code went to somebody else."""

CANNOT_START_EXIT = 127


_Time = Annotated[float, Meta(ge=0, le=2**35)]
"""In unix seconds, before the year 3059: calendars end later."""
_Count = Annotated[int, Meta(ge=0, lt=2**31)]


class Process(msgspec.Struct, frozen=True):
    """A process and its group. The pid alone may be somebody else's by now; with its creation time it is not."""

    pid: Annotated[int, Meta(gt=1, lt=2**31)]
    created_s: float


class Ending(msgspec.Struct, frozen=True):
    """How a process ended; times in unix seconds. `message` says more, for people."""

    exit_code: Annotated[int, Meta(ge=-(2**31), lt=2**31)]
    started_s: _Time
    finished_s: _Time
    reason: str = ""
    message: str = ""


class ContainerState(msgspec.Struct, frozen=True):
    """Everything the node knows of a container; what a record on disk holds. A record that says what cannot be is not
    read: a signal to its process could be one to the node itself.

    `life` names this life of the container; with `process` None and no `ending` it is being started. `streak` counts
    the restarts since it last was healthy. `stop_asked_s` is when its end began, and `grace_s` how long that may take;
    `signalled_s` when its process was asked to end (behind its preStop, by `stop_signal`), `killed_s` when it was
    killed. `has_post_started`: its postStart has run, which a node that takes it over must not do again.
    """

    uid: str
    life: Annotated[str, Meta(min_length=1)]
    started_s: _Time
    grace_s: float
    process: Process | None = None
    ending: Ending | None = None
    previous: Ending | None = None
    restarts: _Count = 0
    streak: _Count = 0
    stop_asked_s: float | None = None
    killed_s: float | None = None
    signalled_s: float | None = None
    stop_signal: str = "SIGTERM"
    has_post_started: bool = False

    def __post_init__(self) -> None:
        if self.stop_signal not in signal.Signals.__members__:
            raise ValueError(f"stop_signal {self.stop_signal!r} is none of this system's")

    @property
    def is_running(self) -> bool:
        return self.ending is None


def first_life(uid: str, life: str, grace_s: float, now: float) -> ContainerState:
    return ContainerState(uid=uid, life=life, started_s=now, grace_s=grace_s)


def next_life(state: ContainerState, life: str, grace_s: float, backoff: Backoff, now: float) -> ContainerState:
    """The container is started again: one restart more, and a longer streak unless it had been healthy."""
    ran_s = state.ending.finished_s - state.ending.started_s if state.ending else 0.0
    return ContainerState(
        uid=state.uid,
        life=life,
        started_s=now,
        grace_s=grace_s,
        previous=state.ending,
        restarts=state.restarts + 1,
        streak=1 if backoff.is_healthy(ran_s) else state.streak + 1,
    )


def ended(state: ContainerState, exit_code: int | None, now: float, said: str = "") -> ContainerState:
    """`exit_code` as `subprocess` gives it: negative for a signal; None when nobody could tell. `said` is the last line
    of its log: most programs tell there why they fail."""
    if exit_code is None:
        ending = Ending(
            UNKNOWN_EXIT, state.started_s, now, "ContainerStatusUnknown", "ended while no node was watching"
        )
    elif exit_code == 0:
        ending = Ending(0, state.started_s, now, "Completed")
    elif exit_code < 0:
        ending = Ending(128 - exit_code, state.started_s, now, "Error", f"ended by signal {-exit_code}")
    else:
        ending = Ending(exit_code, state.started_s, now, "Error", said)
    return replace_state(state, process=None, ending=ending)


def failed_to_start(
    state: ContainerState, message: str, now: float, reason: str = "CreateContainerError"
) -> ContainerState:
    """`reason` is what Kubernetes calls it."""
    return replace_state(state, process=None, ending=Ending(CANNOT_START_EXIT, now, now, reason, message))


replace_state = msgspec.structs.replace
