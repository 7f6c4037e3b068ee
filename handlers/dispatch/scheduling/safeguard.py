"""A plug-in that fails must not stop its pool: the decision goes on without it, and whoever runs the pool is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Safeguard:
    """`report` gets a sentence, once for each plug-in."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._reported: set[str] = set()

    def around(self, name: str, call: Callable[P, R], instead: Callable[P, R]) -> Callable[P, R]:
        """The same call; where it raises, what `instead` gives. `name` tells kind and name of the plug-in."""

        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return call(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - of a plug-in that anybody may have written
                self.failed(name, error)
                return instead(*args, **kwargs)

        return guarded

    def failed(self, name: str, error: Exception) -> None:
        self.complain(name, f"failed, and decisions go on without it: {type(error).__name__}: {error}")

    def complain(self, name: str, what: str) -> None:
        if name not in self._reported:
            self._reported.add(name)
            self._report(f"{name} {what}")
