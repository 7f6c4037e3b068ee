"""Keeps the containers as the Pods want them: looks at the processes, asks `plan`, acts, and writes records."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.environment import Machine, command_line, environment, told_environment
from matrixinfer.agents.node.errors import BadConfiguration, CannotStart
from matrixinfer.agents.node.plan import (
    NOTHING_SEEN,
    Action,
    Ask,
    Forget,
    Kill,
    Remove,
    Seen,
    Start,
    Term,
    plan,
    plan_exit,
)
from matrixinfer.agents.node.pods import Container, ContainerId, Pod, PodId
from matrixinfer.agents.node.processes import Processes, end_marked, end_orphans, signal_group
from matrixinfer.agents.node.records import Records
from matrixinfer.agents.node.states import (
    ContainerState,
    Process,
    ended,
    failed_to_start,
    first_life,
    next_life,
    replace_state,
)
from matrixinfer.agents.node.surroundings import Surroundings
from matrixinfer.agents.node.volumes import make_places, moved

logger = logging.getLogger("matrixinfer.agents.node.keeper")


class Keeper:
    """Synchronous; called on the loop. `on_change` hears of a container that started or ended."""

    def __init__(
        self,
        records: Records,
        processes: Processes,
        machine: Machine,
        backoff: Backoff,
        *,
        new_life: Callable[[], str],
        on_change: Callable[[PodId], None],
        pre_stop: Callable[[Pod, Container, str], bool] = lambda *_: False,
    ) -> None:
        """`pre_stop` begins what a container does before it is asked to end; False when that is nothing."""
        self.states: dict[ContainerId, ContainerState] = {}
        self._records = records
        self._processes = processes
        self._machine = machine
        self._backoff = backoff
        self._new_life = new_life
        self._on_change = on_change
        self._pre_stop = pre_stop
        self._taken_along: set[ContainerId] = set()
        self._unsaved: set[ContainerId] = set()
        self._roomless: set[PodId] = set()
        self._defects: dict[str, str] = {}

    def adopt(self, now: float, owner: str) -> None:
        """Take over what a former node left: running processes go on. A process of `owner` (the beginning of its
        lives' names) that no running container's record knows is killed: nobody would ever end it."""
        for id, state in self._records.load().items():
            if not state.is_running:
                self.states[id] = state
                continue
            process = self._processes.adopt(state.process, state.life)
            if process is None and state.process is not None:
                end_orphans(state.process)
            found = replace_state(state, process=process) if process else ended(state, None, now)
            self._set(id, found)
            logger.info("container %s: %s", id, f"adopted process {process.pid}" if process else "ended meanwhile")
        lives = {state.life for state in self.states.values() if state.is_running}
        for pid in end_marked(lambda life: life.startswith(owner) and life not in lives):
            logger.warning("process %d belongs to no container of this node any more: killed", pid)

    def turn(self, pods: Mapping[PodId, Pod], now: float, seen: Seen = NOTHING_SEEN) -> set[PodId]:
        """One round. Returns the Pods whose objects may go."""
        self._save_again()
        self._look(now)
        removable: set[PodId] = set()
        for action in plan(pods, self.states, self._backoff, now, seen):
            if isinstance(action, Remove):
                removable.add(action.id)
                self._clear(action.id)  # of a Pod that was deleted while no node was here there is no record
            else:
                self._act_apart(action, pods, now)
        return removable

    def exit_turn(self, pods: Mapping[PodId, Pod], limit_s: float, now: float, seen: Seen = NOTHING_SEEN) -> bool:
        """One round of ending everything. True when nothing runs any more."""
        self._look(now)
        for action in plan_exit(pods, self.states, limit_s, now, seen):
            if isinstance(action, Ask):
                self._taken_along.add(action.id)
            self._act_apart(action, pods, now)
        return not any(state.is_running for state in self.states.values())

    def forget_stopped(self) -> None:
        """What the node took along begins anew with the next node: it neither crashed nor completed, as what had ended
        before did. Volumes stay: they are as old as the Pods."""
        for id in self._taken_along:
            if id in self.states and not self.states[id].is_running:
                self._drop(id)

    def forget_pods(self, known: Collection[PodId]) -> None:
        """At the beginning: what is left of Pods that went while no node was here."""
        self._records.sweep({*known, *(id.pod for id in self.states)})

    def has_post_started(self, id: ContainerId, life: str) -> None:
        """The postStart of this life has run: whoever adopts it must not run it again."""
        state = self.states.get(id)
        if state is not None and state.life == life:
            self.states[id] = replace_state(state, has_post_started=True)
            self._save(id)

    def _look(self, now: float) -> None:
        over: set[str] = set()
        for id, state in list(self.states.items()):
            exited = self._processes.look(state.process) if state.process else None
            if exited is not None:
                after = ended(state, exited.code, now, self._records.last_line(id))
                assert after.ending is not None
                log = logger.info if state.stop_asked_s is not None else logger.warning
                log("container %s ended with code %d", id, after.ending.exit_code)
                self._set(id, after)
                over.add(state.life)
        if over:
            end_marked(over.__contains__)  # what left its group goes with the container all the same

    def _act_apart(self, action: Action, pods: Mapping[PodId, Pod], now: float) -> None:
        """What goes wrong with one container keeps nothing from the others. It is tried again, and told once."""
        about = f"{type(action).__name__} {action.id}"
        try:
            self._act(action, pods, now)
            self._defects.pop(about, None)
        except Exception as error:
            if self._defects.get(about) != str(error):
                logger.exception("%s met a defect of the node", about)
            self._defects[about] = str(error)

    def _act(self, action: Action, pods: Mapping[PodId, Pod], now: float) -> None:
        if isinstance(action, Start):
            pod = pods[action.id.pod]
            self._start(pod, next(c for c in pod.all_containers if c.name == action.id.container), now)
        elif isinstance(action, Ask):
            self._ask(action, pods.get(action.id.pod), now)
        elif isinstance(action, Term):
            self._terminate(action.id, now)
        elif isinstance(action, Kill):
            logger.warning("container %s did not end in time and is killed", action.id)
            self._signal(action.id, signal.SIGKILL)
            self._set(action.id, replace_state(self.states[action.id], killed_s=now))
        elif isinstance(action, Forget):
            self._forget(action.id)

    def _ask(self, action: Ask, pod: Pod | None, now: float) -> None:
        state = replace_state(self.states[action.id], stop_asked_s=now, grace_s=action.grace_s)
        self._set(action.id, state)
        found = [one for one in pod.all_containers if one.name == action.id.container] if pod is not None else []
        if pod is None or pod.uid != state.uid or not found or not self._pre_stop(pod, found[0], state.life):
            self._terminate(action.id, now)

    def _terminate(self, id: ContainerId, now: float) -> None:
        self._signal(id, signal.Signals[self.states[id].stop_signal])
        self._set(id, replace_state(self.states[id], signalled_s=now))

    def _start(self, pod: Pod, container: Container, now: float) -> None:
        id = ContainerId(pod.id, container.name)
        before, life = self.states.get(id), self._new_life()
        if before is None:
            state = first_life(pod.uid, life, pod.grace_s, now)
        else:
            state = next_life(before, life, pod.grace_s, self._backoff, now)
        state = replace_state(state, stop_signal=container.stop_signal)
        try:
            self._write_down(id, state)
        except OSError as error:
            logger.warning("container %s cannot be started: its record cannot be written: %s", id, error)
            self.states[id] = failed_to_start(state, f"its record cannot be written: {error}", now)
            self._on_change(id.pod)
        else:
            self._set(id, self._spawned(pod, container, state, now))

    def _write_down(self, id: ContainerId, state: ContainerState) -> None:
        """Before the start: a process that nobody wrote down would be nobody's. The first of a Pod makes room for it.
        Raises OSError."""
        if id.pod in self._roomless or not any(other.pod == id.pod for other in self.states):
            self._roomless.add(id.pod)
            self._records.make_room(id.pod, state.uid)
            self._roomless.discard(id.pod)
        self._records.save(id, state)

    def _spawned(self, pod: Pod, container: Container, state: ContainerState, now: float) -> ContainerState:
        """No node may die of what somebody wrote into a Pod: its successor would die of it again."""
        id = ContainerId(pod.id, container.name)
        try:
            process = self._spawn(pod, container, id, state.life)
        except CannotStart as error:
            logger.warning("container %s: %s", id, error)
            return failed_to_start(state, str(error), now, error.reason)
        except Exception as error:
            logger.exception("container %s met a defect of the node", id)
            return failed_to_start(state, f"{type(error).__name__}: {error}", now)
        logger.info("container %s started as process %d", id, process.pid)
        return replace_state(state, process=process)

    def _spawn(self, pod: Pod, container: Container, id: ContainerId, life: str) -> Process:
        around = self.surroundings(pod, container, life)
        argv = command_line(container, self._machine, around.told, around.places)
        try:
            log = self._records.log_path(id)
        except OSError as error:
            raise CannotStart(f"the container's log cannot be made: {error}") from error
        return self._processes.start(argv, around.environment, around.folder, log)

    def surroundings(self, pod: Pod, container: Container, life: str) -> Surroundings:
        """What a process of the container is given. Raises CannotStart."""
        try:
            told = told_environment(pod, container, self._machine)
        except ValueError as error:
            raise BadConfiguration(f"env: {error}") from error
        places = make_places(pod, container, self._records.volumes_dir(pod.id), self._records.claims_dir, told)
        folder = Path(moved(container.working_dir, places)) if container.working_dir else self._working_dir(pod)
        return Surroundings(environment(self._machine, told, places, life), folder, places, told)

    def _working_dir(self, pod: Pod) -> Path:
        try:
            return self._records.working_dir(pod.id)
        except OSError as error:
            raise CannotStart(f"the pod's working folder cannot be made: {error}") from error

    def _signal(self, id: ContainerId, number: signal.Signals) -> None:
        process = self.states[id].process
        if process is not None:
            signal_group(process.pid, number)

    def _forget(self, id: ContainerId) -> None:
        """With the last container of its Pod also the Pod's folder."""
        self._drop(id)
        self._clear(id.pod)

    def _drop(self, id: ContainerId) -> None:
        del self.states[id]
        self._unsaved.discard(id)
        self._records.forget(id)

    def _clear(self, id: PodId) -> None:
        if not any(other.pod == id for other in self.states):
            self._roomless.discard(id)
            self._records.forget_pod(id)

    def _set(self, id: ContainerId, state: ContainerState) -> None:
        self.states[id] = state
        self._save(id)
        self._on_change(id.pod)

    def _save(self, id: ContainerId) -> None:
        """What a full disk does not take is kept in mind, and written in a later turn: the process goes on anyway."""
        try:
            self._records.save(id, self.states[id])
        except OSError as error:
            if id not in self._unsaved:
                logger.warning("the record of container %s cannot be written now: %s", id, error)
            self._unsaved.add(id)
        else:
            self._unsaved.discard(id)

    def _save_again(self) -> None:
        for id in list(self._unsaved):
            self._save(id)
