"""Where a process's settings come from: a keyword (a flag) over the environment over one file over the default.

The file is YAML, the same one for every process, named by `MATRIXINFER_CONFIG`. Each settings record is a section,
named like its environment variables: `MATRIXINFER_GATEWAY_PORT` is `port` in the section `gateway`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from matrixinfer.bus.errors import Misconfigured

VARIABLE = "MATRIXINFER_CONFIG"
PREFIX = "MATRIXINFER_"
SECTIONS = ("agent", "bus", "dispatch", "gateway", "handlers", "node")
"""A process reads its own sections only; the names of all tell a misspelt one from another part's."""


class Settings(BaseSettings):
    """A settings record; a subclass names its `env_prefix`. Raises pydantic's ValidationError for a value that does not
    fit, Misconfigured for a file that cannot be read."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = InitSettingsSource(settings_cls, read_section(os.environ, settings_cls))
        return init_settings, env_settings, file


def section_of(record: type[BaseSettings]) -> str:
    """`MATRIXINFER_GATEWAY_` → `gateway`."""
    return str(record.model_config.get("env_prefix", "")).removeprefix(PREFIX).rstrip("_").lower()


def read_section(environment: Mapping[str, str], record: type[BaseSettings]) -> dict[str, Any]:
    """What the file says for `record`; empty without a file. Raises Misconfigured."""
    path = environment.get(VARIABLE, "")
    if not path:
        return {}
    section = section_of(record)
    fields = _read(Path(path).expanduser()).get(section) or {}
    if not isinstance(fields, dict):
        raise Misconfigured(f"{path}: {section}: expected fields with values, got {type(fields).__name__}")
    if unknown := sorted(map(str, fields.keys() - record.model_fields.keys())):
        known = ", ".join(record.model_fields)
        raise Misconfigured(f"{path}: {section} has no {', '.join(unknown)}; it has {known}")
    return fields


def for_children(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable for a process that is started in another folder."""
    path = environment.get(VARIABLE, "")
    return {VARIABLE: str(Path(path).expanduser().absolute())} if path else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Misconfigured(f"{VARIABLE} names {path}, which cannot be read: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Misconfigured(f"{path}: expected sections ({', '.join(SECTIONS)}), got {type(document).__name__}")
    if unknown := sorted(map(str, document.keys() - set(SECTIONS))):
        raise Misconfigured(f"{path}: no such section: {', '.join(unknown)}; expected some of {', '.join(SECTIONS)}")
    return document
