"""A backend's `config` as flags of a command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Config = Mapping[str, Any]
"""Any: what the engine takes."""


def merged(*configs: Config) -> dict[str, Any]:
    """Later ones count more; `tp_size`, `tp-size` and `--tp-size` are one flag."""
    return {_flag(name): value for config in configs for name, value in config.items()}


def words(config: Config) -> Iterator[str]:
    """In the order of their names: the same config is the same Pod. `false` and `null` leave a flag out."""
    for name, value in sorted(config.items()):
        if value is None or value is False:
            continue
        yield f"--{name}"
        if isinstance(value, list):
            yield from map(_word, value)
        elif value is not True:
            yield _word(value)


def _flag(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _word(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
