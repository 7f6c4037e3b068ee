"""What `up` says when it serves: where everything is, and lines to paste into this very shell."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from matrixinfer.up import record
from matrixinfer.up.house import House

PROGRAM = "matrixinfer"
QUESTION = "What is the capital of France?"


def greeting(house: House, data_dir: Path) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_row("  API", Text(f"{house.url}/v1", "bold"))
    facts.add_row("  models", ", ".join(house.models) or f"none yet: `{program()} apply -f FILE`")
    facts.add_row("  metrics", "\n".join(f"{url}/metrics" for url in house.worker_urls))
    facts.add_row("  logs", str(house.logs))
    facts.add_row("  data", str(data_dir))
    lines: list[RenderableType] = [Text("\nMatrixInfer serves", "bold green"), facts, Text()]
    if house.models:
        lines += [
            Text("Try it:", "bold"),
            Text(f"  {curl(house.url, house.models[0])}"),
            Text(f"  {chat(house.url, data_dir)}"),
        ]
    return Group(*lines, Text("\nCtrl-C stops it.", "dim"))


def program() -> str:
    """How this shell calls this program: by its name, or by its path when the name is not found on the PATH."""
    if shutil.which(PROGRAM):
        return PROGRAM
    script = Path(sys.executable).with_name(PROGRAM)
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m {PROGRAM}"


def chat(url: str, data_dir: Path) -> str:
    """The command to talk with the model; the default folder is found without a flag."""
    here = data_dir == record.default_data_dir()
    return f"{program()} chat" if here else f"{program()} chat --url {url}"


def curl(url: str, model: str) -> str:
    """A line to paste into a shell."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    arguments = f"-N {url}/v1/chat/completions -H 'Content-Type: application/json'"
    return f"curl {arguments} -d {shlex.quote(json.dumps(body))}"
