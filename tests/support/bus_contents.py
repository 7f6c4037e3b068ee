"""What the control plane has left on the bus."""

from __future__ import annotations

from matrixinfer.bus.bus import Bus


async def everything(bus: Bus) -> list[str]:
    """Keys of OBJECTS and SERVING, but Events: these tell of what was."""
    keys = [key for bucket in ("OBJECTS", "SERVING") for key in await bus.store(bucket).entries()]
    return [key for key in keys if not key.startswith("Event.")]
