"""Another platform on a shared server: it is looked for before anything of this one is started or applied there.

Its node's lease tells that it is alive. What a killed one left runs out; what our own killed node left is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matrixinfer.agents.node.errors import NameTaken
from matrixinfer.agents.node.records import Records
from matrixinfer.agents.node.tenancy import PATIENCE_S
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.subjects import key
from matrixinfer.up.errors import ServerTaken

LOOK_S = 0.2


async def make_sure_of_none(bus: Bus, name: str, ttl_s: float, data_dir: Path, say: Callable[[str], None]) -> None:
    """Returns when no node but a former one on this folder has `name`; changes nothing. Raises ServerTaken after
    `ttl_s` and a little more: then whoever has it is alive. Raises NodeTaken when a node works on this folder."""
    own = _own_owner(data_dir)
    since_s = bus.clock.monotonic()
    while await _owner(bus, name) not in (None, own):
        if bus.clock.monotonic() - since_s > ttl_s + PATIENCE_S:
            fact = NameTaken(name, bus.subjects.prefix).fact
            raise ServerTaken(
                f"{fact}: another platform uses this server; stop it, or give this one its own MATRIXINFER_BUS_PREFIX"
            )
        say("another platform was here a moment ago; waiting until it is surely gone")
        await bus.clock.sleep(LOOK_S)


async def _owner(bus: Bus, name: str) -> str | None:
    lease = key("node", name)
    return (await bus.leases.holders(lease)).get(lease)


def _own_owner(data_dir: Path) -> str | None:
    records = Records(data_dir)
    try:
        lease = records.load_lease()
    finally:
        records.close()
    return lease.owner if lease is not None else None
