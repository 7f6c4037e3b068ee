"""Processes of the operating system: started in a group of their own, adopted, looked at, signalled.

A container's process leads a session and group with its own pid, so that a signal reaches all that it started and a
Ctrl-C in the node's terminal does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from matrixinfer.agents.node.environment import LIFE_VARIABLE
from matrixinfer.agents.node.errors import CannotStart
from matrixinfer.agents.node.states import Process

_CLOCK_SLACK_S = 1.0


@dataclass(frozen=True)
class Exited:
    """`code` as `subprocess` gives it, None when the process was not our child."""

    code: int | None


class Processes:
    """The processes of this node: its children, and those that a former node started."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._adopted: dict[int, psutil.Process] = {}

    def start(self, argv: list[str], environment: Mapping[str, str], working_dir: Path, log: Path) -> Process:
        """Raises CannotStart, saying what the operating system said."""
        try:
            output = log.open("ab")
        except OSError as error:
            raise CannotStart(f"the container's log cannot be opened: {error}") from error
        try:
            with output:
                child = subprocess.Popen(
                    argv,
                    env=environment,
                    cwd=working_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise CannotStart(f"cannot execute {argv[0]!r} in {working_dir}: {error.strerror}") from error
        except ValueError as error:  # a NUL, or another character that no process can be given
            raise CannotStart(f"cannot execute {argv[0]!r} in {working_dir}: {error}") from error
        self._children[child.pid] = child
        return Process(child.pid, _created_s(child.pid))

    def adopt(self, process: Process | None, life: str) -> Process | None:
        """Take over the process that lives this life, whether its pid was recorded or not; None when it is gone."""
        for candidate in [_of_pid(process.pid)] if process else leaders_of(life):
            if candidate is not None and _is_life(candidate, process, life):
                self._adopted[candidate.pid] = candidate
                return Process(candidate.pid, candidate.create_time())
        return None

    def look(self, process: Process) -> Exited | None:
        """None while it runs. What an ended process leaves behind in its group is killed, once, here."""
        exited = self._exit_of(process.pid)
        if exited is not None:
            self._children.pop(process.pid, None)
            self._adopted.pop(process.pid, None)
            signal_group(process.pid, signal.SIGKILL)
        return exited

    def let_go(self) -> None:
        """The node ends and what still runs goes on: `Popen` need not warn that nobody will wait for it."""
        for child in self._children.values():
            child.returncode = 0
        self._children.clear()

    def _exit_of(self, pid: int) -> Exited | None:
        child = self._children.get(pid)
        if child is not None:
            code = child.poll()
            return None if code is None else Exited(code)
        adopted = self._adopted.get(pid)
        return None if adopted is not None and _is_alive(adopted) else Exited(None)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the group that `pid` leads; a group that is gone is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def end_orphans(process: Process) -> None:
    """Kill what is left of the group that it led, now that it is dead. A group keeps its number for itself; whether
    it is still that one tell the number's present owner, the age of this system, and the sessions of its members."""
    found = _of_pid(process.pid)
    if found is not None and abs(found.create_time() - process.created_s) >= _CLOCK_SLACK_S:
        return
    if process.created_s >= _system_began_s() - _CLOCK_SLACK_S and _is_a_session_of_its_own(process.pid):
        signal_group(process.pid, signal.SIGKILL)


def _system_began_s() -> float:
    """When the first process began, whose pids these are: the machine's, or the container's in which this node is."""
    try:
        return psutil.Process(1).create_time()
    except psutil.Error:  # some systems hide it
        return psutil.boot_time()


def _is_a_session_of_its_own(group: int) -> bool:
    """As every group is that a node has begun."""
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group and os.getsid(pid) != group:
                return False
    return True


def leaders_of(life: str) -> Iterator[psutil.Process]:
    """Group leaders that carry this life in their environment."""
    return (process for process, found in marked_processes() if found == life and _leads(process))


def end_marked(is_meant: Callable[[str], bool]) -> list[int]:
    """Kill the processes whose life is meant, and return their pids. It looks at every process of this user, which
    takes some milliseconds: once for all lives."""
    killed = []
    for process, life in marked_processes():
        if is_meant(life):
            with suppress(psutil.Error):
                process.kill()
                killed.append(process.pid)
    return killed


def marked_processes() -> Iterator[tuple[psutil.Process, str]]:
    """This user's processes that belong to any node, each with its life."""
    own = os.getuid()
    for process in psutil.process_iter():
        try:
            if process.uids().real == own and LIFE_VARIABLE in (environment := process.environ()):
                yield process, environment[LIFE_VARIABLE]
        except psutil.Error:  # gone meanwhile, or a zombie, which has no environment
            continue


def _of_pid(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _is_life(candidate: psutil.Process, process: Process | None, life: str) -> bool:
    """By its environment, which no jump of the clock changes; or, if that was overwritten, by its creation time."""
    try:
        if not _is_alive(candidate):
            return False
        if candidate.environ().get(LIFE_VARIABLE) == life:
            return True
        return process is not None and abs(candidate.create_time() - process.created_s) < _CLOCK_SLACK_S
    except psutil.Error:
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _leads(process: psutil.Process) -> bool:
    try:
        return os.getpgid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def _created_s(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # ended already: the next look tells how
        return 0.0
