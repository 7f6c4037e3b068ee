"""What an operator may choose about a node."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from matrixinfer.bus.configuration import Settings


class NodeSettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_NODE_…`) over file (`node`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_NODE_")

    name: str = Field(default="local", min_length=1)
    """Name of this node; Pods without a node are claimed for it."""

    data_dir: Path = Path("matrixinfer-node")
    """Folder for the containers' records, working folders (`pods`) and logs (`logs/pods`). A node that is started
    again with the same folder takes over what still runs."""

    lease_ttl_s: float = Field(default=4.0, ge=1)
    """How long after its last sign of life a node still counts as alive, and its name as taken."""

    agent_bus_url: str = ""
    """Where containers find the bus (`MATRIXINFER_BUS_URL` in their environment), with the agents' user. Empty: the
    address that this process uses itself."""

    stop_pods_on_exit: bool = True
    """A clean stop ends the containers too, gracefully. Off: they go on, and the next node adopts them; that is how
    a node is upgraded without ending what it runs."""

    exit_grace_s: float = Field(default=30.0, ge=0)
    """How long containers may take to end when the node stops, at most; a Pod's own shorter time holds too."""

    poll_s: float = Field(default=0.2, gt=0)
    """How often processes are looked at: the delay until an exit is noticed. A look costs some 50 µs a container."""

    backoff_first_s: float = Field(default=1.0, gt=0)
    """Wait before the first restart of a container that ended; doubles with every further one."""

    backoff_limit_s: float = Field(default=60.0, gt=0)
    """Longest wait before a restart."""

    backoff_reset_s: float = Field(default=300.0, gt=0)
    """A container that ran this long is healthy: its next restart waits the first time again."""

    ready_silence_s: float = Field(default=3.0, gt=0)
    """A Pod with an agent is ready while its load events come; after this long without one it is not."""
