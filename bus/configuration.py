"""Where a process's settings come from: a keyword (a flag) over the environment over one file over the default.

The file is YAML, the same one for every process, named by `MATRIXINFER_CONFIG`. Each settings record is a section,
named like its environment variables: `MATRIXINFER_GATEWAY_PORT` is `port` in the section `gateway`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from matrixinfer.bus.errors import Misconfigured

VARIABLE = "MATRIXINFER_CONFIG"
_CREDENTIALS = re.compile(r"//[^@/]*@")
_FIELD = re.compile(r'field "(\w+)"')
PREFIX = "MATRIXINFER_"
SECTIONS = ("agent", "bus", "dispatch", "gateway", "handlers", "node")
"""A process reads its own sections only; the names of all tell a misspelt one from another part's."""


class Settings(BaseSettings):
    """A settings record; a subclass names its `env_prefix`. Raises Misconfigured for a value that does not fit, with
    its name, and for a file that cannot be read."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise Misconfigured("; ".join(_complaint(type(self), one, values) for one in error.errors())) from error
        except SettingsError as error:
            raise Misconfigured(_not_json(type(self), error)) from error

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


def variable_of(record: type[BaseSettings], field: str) -> str:
    """`port` → `MATRIXINFER_GATEWAY_PORT`."""
    return f"{record.model_config.get('env_prefix', '')}{field.upper()}"


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


def _complaint(record: type[BaseSettings], error: ErrorDetails, flags: Collection[str]) -> str:
    """What came by a flag has the flag's name, all else that of the variable."""
    field, *inner = map(str, error["loc"])
    where = ".".join([field if field in flags else variable_of(record, field), *inner])
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    got = _CREDENTIALS.sub("//…@", repr(error["input"]))
    return f"{where}: expected {message.removeprefix('expected ')}, got {got}"


def _not_json(record: type[BaseSettings], error: SettingsError) -> str:
    """pydantic-settings tells the field in its message only."""
    field = _FIELD.search(str(error))
    return f"{variable_of(record, field[1]) if field else error}: expected JSON, which this cannot be read as"
