"""No orphans: a tiny process that ends everything of one house when `up` is gone, however it went.

`up` holds the only write end of a pipe whose read end is the reaper's standard input. When `up` ends, even by
`kill -9`, the reaper reads the end of the file, and ends every process of this user that carries the house's marker
in its environment. Run by its path, not as a module, so that it imports psutil and nothing of the platform.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

import psutil

MARKER = "MATRIXINFER_HOUSE"
GRACE_S = 2.0
_PAUSE_S = 0.02
_LOOKS = 3
"""So often nobody must be found: while a process becomes another program it has no environment, for a moment."""


def members(house: str) -> list[psutil.Process]:
    """This user's living processes that carry the marker of `house`, this one excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.uids().real == os.getuid() and _lives_in(process, house):
                found.append(process)
        except psutil.Error:  # gone meanwhile, or a zombie, which has no environment
            continue
    return found


def reap(house: str, grace_s: float = GRACE_S) -> int:
    """SIGTERM to all, SIGKILL to those that are still there after `grace_s`, until none is left.

    Returns how many processes there were.
    """
    ended: set[int] = set()
    deadline, looked_in_vain = time.monotonic() + grace_s, 0
    while looked_in_vain < _LOOKS:
        current = members(house)
        looked_in_vain = 0 if current else looked_in_vain + 1
        new = [process for process in current if process.pid not in ended]
        ended.update(process.pid for process in new)
        _signal(new, kill=False)
        if time.monotonic() > deadline:
            _signal(current, kill=True)
        time.sleep(_PAUSE_S)
    return len(ended)


def _lives_in(process: psutil.Process, house: str) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARKER) == house


def _signal(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        try:
            if kill:
                process.kill()
            else:
                process.terminate()
        except psutil.NoSuchProcess:
            continue


def main() -> None:
    """`reaper.py HOUSE`: wait until the other end of standard input is gone, then reap."""
    house = sys.argv[1]
    while os.read(sys.stdin.fileno(), 4096):
        pass
    reap(house)


if __name__ == "__main__":
    main()
