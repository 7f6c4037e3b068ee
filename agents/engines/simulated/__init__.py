"""An engine without a model: real queueing, continuous batching, prefix cache and latency, and made-up words.

Here belong: the pure core (`batching`, `prefix_cache`, `told_cache`), which a simulator of a whole platform uses as
well, what turns bodies into its requests (`prompts`, `kv_fields`) and tokens into OpenAI's bytes (`answers`), the shell
that runs it on a clock (`engine`), and the ways of computed prompts between engines (`kv_outlet`, `stored_blocks`).
Here does not belong: anything of the bus or of pods. The registry of engines imports it, and simulators.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matrixinfer.agents.engines.config import checked
from matrixinfer.agents.engines.port import Engine
from matrixinfer.agents.engines.simulated.engine import SimulatedEngine
from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
from matrixinfer.bus.clock import SystemClock


def create(model_path: str, served_model: str, config: Mapping[str, Any]) -> Engine:
    """The registry's creator. There is no model, so `model_path` has no effect."""
    return SimulatedEngine(checked("Simulated", SimulatedConfig, config), served_model, SystemClock())
