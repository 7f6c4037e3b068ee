"""llama.cpp inside the agent's process, by the library xllamacpp: a real model on a CPU, up in a second.

Here belong: its lifetime and parameters (`server`), the talk with its HTTP server over a private Unix socket
(`exchange`), what becomes of its bytes (`relay`, pure), and the engine that queues and aborts (`engine`). The socket,
and not the library's callbacks, because closing a connection is its only way to stop a prefill or a whole answer, and
only HTTP tells the status of an error. The registry of engines imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matrixinfer.agents.engines.config import checked
from matrixinfer.agents.engines.llamacpp.engine import LlamaCppEngine
from matrixinfer.agents.engines.llamacpp.settings import LlamaCppConfig
from matrixinfer.agents.engines.port import Engine


def create(model_path: str, served_model: str, config: Mapping[str, Any]) -> Engine:
    """The registry's creator. `model_path` is a GGUF file."""
    return LlamaCppEngine(checked("LlamaCpp", LlamaCppConfig, config), Path(model_path), served_model)
