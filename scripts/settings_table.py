"""Prints docs/settings.md: every setting of every process, read from the settings classes themselves.

python scripts/settings_table.py > docs/settings.md
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

import matrixinfer
from matrixinfer.bus.configuration import section_of

HEAD = """\
# Settings

Made by `make docs` from the settings classes; a test compares. A flag of the command line wins over the environment,
the environment over the file, the file over the default. A value that does not fit stops the start with its name.

The file is YAML, one for all processes, and named by the environment variable `MATRIXINFER_CONFIG`. Its sections are
those below: what is `MATRIXINFER_GATEWAY_PORT` in the environment is in the file

```yaml
gateway:
  port: 9000
```
"""


def settings_classes() -> Iterator[type[BaseSettings]]:
    """The settings classes of all parts, in the order of their environment variables."""
    found: set[type[BaseSettings]] = set()
    for module in pkgutil.walk_packages(matrixinfer.__path__, "matrixinfer."):
        if module.name.endswith(".settings"):
            members = vars(importlib.import_module(module.name)).values()
            found.update(m for m in members if isinstance(m, type) and issubclass(m, BaseSettings))
    return iter(sorted((c for c in found if prefix(c)), key=prefix))


def prefix(record: type[BaseSettings]) -> str:
    return str(record.model_config.get("env_prefix", ""))


def table(record: type[BaseSettings]) -> Iterator[str]:
    yield f"\n## `{section_of(record)}`\n"
    yield "| variable | default | effect |"
    yield "|---|---|---|"
    for name, field in record.model_fields.items():
        effect = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{prefix(record)}{name.upper()}` | {default(field)} | {effect} |"


def default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "made at start" if field.default_factory else "required"
    if isinstance(value, BaseModel):
        value = value.model_dump_json()
    if isinstance(value, frozenset | set):
        value = ", ".join(sorted(map(str, value)))
    return f"`{value}`" if str(value) else "empty"


def page() -> str:
    return HEAD + "\n".join(line for record in settings_classes() for line in table(record)) + "\n"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  the output is the program's purpose
