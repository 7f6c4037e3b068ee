"""A scheduling profile as a person writes it: YAML with the fields of the pool's `profile`."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.cli.errors import CliError


def parse_profile(text: str, filename: str) -> Profile:
    """An empty mapping is the default profile. Raises CliError, naming the field that is wrong. What the plug-ins
    themselves do not take is found when the profile is compiled."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CliError(f"{filename}: expected YAML: {' '.join(str(error).split())}") from error
    try:
        profile = msgspec.convert(raw, Profile)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise CliError(f"{filename}: profile{place.rstrip('`')}: {what[:1].lower()}{what[1:]}") from error
    _check_fields(filename, "profile", raw, Profile)
    for kind, contract in (("filters", Plugin), ("scorers", WeightedPlugin)):
        for index, plugin in enumerate(raw.get(kind) or ()):
            _check_fields(filename, f"profile.{kind}[{index}]", plugin, contract)
    if raw.get("picker"):
        _check_fields(filename, "profile.picker", raw["picker"], Plugin)
    return profile


def _check_fields(filename: str, place: str, raw: dict[str, Any], contract: type[msgspec.Struct]) -> None:
    """The contract ignores what it does not know, for versions to come; a person would take it for heeded."""
    known = contract.__struct_fields__
    for name in raw:
        if name not in known:
            raise CliError(f"{filename}: {place}.{name} is not known; known are: {', '.join(known)}")
