"""CPU time of processes, read before and after a run."""

from __future__ import annotations

import psutil


class Meter:
    """Charges each named process with the CPU that it used since `start`."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._before: dict[str, float] = {}

    def start(self) -> None:
        self._before = self._read()

    def used_s(self) -> dict[str, float]:
        """CPU seconds (user and system) of each process since `start`."""
        return {name: after - self._before[name] for name, after in self._read().items()}

    def rss_mib(self) -> dict[str, float]:
        return {name: process.memory_info().rss / 2**20 for name, process in self._processes.items()}

    def _read(self) -> dict[str, float]:
        return {name: sum(process.cpu_times()[:2]) for name, process in self._processes.items()}
