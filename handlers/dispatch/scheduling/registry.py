"""The one table of scheduling plug-ins, by kind and name. What each does: docs/plugins.md.

Those of other distributions come by the entry point groups `matrixinfer.filters`, `matrixinfer.scorers` and
`matrixinfer.pickers`: the name is the plug-in's, the object a `Factory`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, NamedTuple, TypeVar

from matrixinfer.handlers.dispatch.errors import BadPlugin
from matrixinfer.handlers.dispatch.scheduling.filters.has_adapter import HasAdapter
from matrixinfer.handlers.dispatch.scheduling.filters.has_room import HasRoom, HasRoomParameters
from matrixinfer.handlers.dispatch.scheduling.filters.ready import Ready
from matrixinfer.handlers.dispatch.scheduling.filters.role import Role, RoleParameters
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters, Parameters
from matrixinfer.handlers.dispatch.scheduling.pickers.max_score import MaxScore
from matrixinfer.handlers.dispatch.scheduling.pickers.power_of_two import PowerOfTwo
from matrixinfer.handlers.dispatch.scheduling.pickers.weighted_random import WeightedRandom, WeightedRandomParameters
from matrixinfer.handlers.dispatch.scheduling.port import Filter, Picker, Scorer
from matrixinfer.handlers.dispatch.scheduling.scorers.bounded_hash import BoundedHash, BoundedHashParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.gpu_cache import GpuCache
from matrixinfer.handlers.dispatch.scheduling.scorers.kv_cache import KvCache
from matrixinfer.handlers.dispatch.scheduling.scorers.least_latency import LeastLatency, LeastLatencyParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.least_requests import LeastRequests
from matrixinfer.handlers.dispatch.scheduling.scorers.lora_affinity import LoraAffinity, LoraAffinityParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.predicted_ttft import PredictedTtft, PredictedTtftParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.prefix_cache import PrefixCache
from matrixinfer.handlers.dispatch.scheduling.scorers.session_affinity import SessionAffinity, SessionAffinityParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.token_load import TokenLoad, TokenLoadParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.topology import Topology, TopologyParameters

T = TypeVar("T")


class Factory(NamedTuple, Generic[T]):
    """How a plug-in is made: `make` takes a checked value of `parameters`."""

    parameters: type[Parameters]
    make: Callable[[Any], T]  # Any: an instance of `parameters`, which no type can say for a table of many


class Registry(NamedTuple):
    filters: Mapping[str, Factory[Filter]]
    scorers: Mapping[str, Factory[Scorer]]
    pickers: Mapping[str, Factory[Picker]]


BUILT_IN = Registry(
    filters={
        "ready": Factory(NoParameters, Ready),
        "has_room": Factory(HasRoomParameters, HasRoom),
        "has_adapter": Factory(NoParameters, HasAdapter),
        "role": Factory(RoleParameters, Role),
    },
    scorers={
        "least_requests": Factory(NoParameters, LeastRequests),
        "token_load": Factory(TokenLoadParameters, TokenLoad),
        "gpu_cache": Factory(NoParameters, GpuCache),
        "least_latency": Factory(LeastLatencyParameters, LeastLatency),
        "prefix_cache": Factory(NoParameters, PrefixCache),
        "kv_cache": Factory(NoParameters, KvCache),
        "lora_affinity": Factory(LoraAffinityParameters, LoraAffinity),
        "session_affinity": Factory(SessionAffinityParameters, SessionAffinity),
        "bounded_hash": Factory(BoundedHashParameters, BoundedHash),
        "topology": Factory(TopologyParameters, Topology),
        "predicted_ttft": Factory(PredictedTtftParameters, PredictedTtft),
    },
    pickers={
        "max_score": Factory(NoParameters, MaxScore),
        "weighted_random": Factory(WeightedRandomParameters, WeightedRandom),
        "power_of_two": Factory(NoParameters, PowerOfTwo),
    },
)


def installed() -> Registry:
    """The built-in plug-ins and those of other distributions. Raises BadPlugin, naming the entry point."""
    return Registry(
        filters=_with_entry_points("matrixinfer.filters", BUILT_IN.filters),
        scorers=_with_entry_points("matrixinfer.scorers", BUILT_IN.scorers),
        pickers=_with_entry_points("matrixinfer.pickers", BUILT_IN.pickers),
    )


def _with_entry_points(group: str, built_in: Mapping[str, Factory[T]]) -> dict[str, Factory[T]]:
    table = dict(built_in)
    for point in entry_points(group=group):
        if point.name in table:
            raise BadPlugin(f"{_told(point)}: the name is taken; rename it, or uninstall its package")
        table[point.name] = _load(point)
    return table


def _load(point: EntryPoint) -> Factory[Any]:
    """Any: what an entry point makes is found out when it is called."""
    try:
        factory = point.load()
    except (ImportError, AttributeError) as error:
        raise BadPlugin(f"{_told(point)} cannot be loaded ({error}); reinstall its package") from error
    if not isinstance(factory, Factory):
        raise BadPlugin(f"{_told(point)}: expected a Factory, got {type(factory).__name__}")
    return factory


def _told(point: EntryPoint) -> str:
    return f"entry point {point.name!r} = {point.value!r} of {point.group}"
