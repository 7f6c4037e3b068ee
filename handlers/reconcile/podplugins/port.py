"""What a plug-in is: it is given a Pod as it would be made, and where it stands, and returns the Pod to be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from matrixinfer.handlers.api.meta import Part
from matrixinfer.handlers.api.modelinfer import ModelInfer, pod_name
from matrixinfer.handlers.api.pod import Pod


class PodContext(NamedTuple):
    """Where the Pod stands. `number` 0 is the entry of its instance, which has `size` Pods."""

    infer: ModelInfer
    revision: str
    group: int
    role: str
    instance: int
    number: int
    size: int

    @property
    def is_entry(self) -> bool:
        return self.number == 0

    @property
    def entry(self) -> str:
        """The name of the instance's entry Pod."""
        return pod_name(self.infer, self.group, self.role, self.instance, 0)


Mutation = Callable[[Pod, PodContext], Pod]
"""The same Pod and context give the same answer: it is asked again whenever somebody looks. Its name, namespace and
owner, and the labels `matrixinfer.ai/…` that it has, are put back afterwards. Any exception means that it cannot."""


class Factory(NamedTuple):
    """How a plug-in is made: `make` takes a checked value of `config`."""

    config: type[Part]
    make: Callable[[Any], Mutation]  # Any: an instance of `config`, which no type can say for a table of many


Table = Mapping[tuple[str, str], Factory]
"""By type (`BuiltIn`, `Installed`) and name."""
