"""From a profile as it is written to the scheduler that runs it. What is wrong is found here and named by its field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.handlers.dispatch.errors import BadProfile
from matrixinfer.handlers.dispatch.scheduling.default import DEFAULT
from matrixinfer.handlers.dispatch.scheduling.plugins import Made, Plugins
from matrixinfer.handlers.dispatch.scheduling.registry import Factory, Registry
from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler, Surroundings

T = TypeVar("T")

_UNNAMED = "unnamed"
_MAX_SCORE = Plugin("max_score")
_HEAVIEST = 1e6
"""Beside it a weight of 1 decides nothing; the sum of weights stays far from infinity."""
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*?)`")
_PLACE = re.compile(r" - at `\$(.*?)`$")


def compile_profile(profile: Profile, registry: Registry, surroundings: Surroundings) -> ProfileScheduler:
    """The scheduler of `profile`; of the default one where it is empty. Raises BadProfile with every field that is
    wrong, as in `profile.scorers[2].parameters.half_life_s`."""
    if profile.is_empty():
        profile = DEFAULT
    picker = profile.picker or _MAX_SCORE
    workshop = _Workshop()
    filters = [
        made
        for index, plugin in enumerate(profile.filters)
        for made in workshop.make(f"profile.filters[{index}]", plugin, registry.filters)
    ]
    scorers = [
        (plugin.weight, made)
        for index, plugin in enumerate(profile.scorers)
        for made in workshop.make(f"profile.scorers[{index}]", plugin, registry.scorers)
    ]
    pickers = workshop.make("profile.picker", picker, registry.pickers)
    problems = [*workshop.problems, *_problems_of(profile.scorers)]
    if problems:
        raise BadProfile(problems)
    return ProfileScheduler(profile.name or _UNNAMED, Plugins(filters, scorers, pickers[0]), surroundings)


class _Workshop:
    """Makes plug-ins, and collects why it could not."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def make(self, place: str, plugin: Plugin | WeightedPlugin, table: Mapping[str, Factory[T]]) -> list[Made[T]]:
        """The one plug-in, or none when it is a problem."""
        factory = table.get(plugin.name)
        if factory is None:
            self.problems.append(f"{place}.name: {plugin.name!r} is not known; known are: {', '.join(sorted(table))}")
            return []
        try:
            parameters = msgspec.convert(plugin.parameters, factory.parameters)
            return [Made(plugin.name, parameters, factory.make(parameters))]
        except msgspec.ValidationError as error:
            known = [field.name for field in msgspec.structs.fields(factory.parameters)]
            self.problems.append(_told(f"{place}.parameters", str(error), known))
        except Exception as error:  # noqa: BLE001 - of a plug-in that anybody may have written
            self.problems.append(f"{place}: {plugin.name!r} cannot be made: {type(error).__name__}: {error}")
        return []


def _told(place: str, complaint: str, known: Sequence[str]) -> str:
    """msgspec's words, with the field's full name in front."""
    if unknown := _UNKNOWN_FIELD.match(complaint):
        return f"{place}.{unknown[1]} is not known; known are: {', '.join(known) or 'none'}"
    within = _PLACE.search(complaint)
    what = _PLACE.sub("", complaint)
    return f"{place}{within[1] if within else ''}: {what[:1].lower()}{what[1:]}"


def _problems_of(scorers: Sequence[WeightedPlugin]) -> list[str]:
    times = Counter(scorer.name for scorer in scorers)
    places = [(f"profile.scorers[{index}]", scorer) for index, scorer in enumerate(scorers)]
    weights = [
        f"{place}.weight: expected a number above 0, and {_HEAVIEST:g} at most, got {scorer.weight:g}"
        for place, scorer in places
        if not 0.0 < scorer.weight <= _HEAVIEST
    ]
    twice = [
        f"{place}.name: {scorer.name!r} is there more than once" for place, scorer in places if times[scorer.name] > 1
    ]
    return weights + twice
