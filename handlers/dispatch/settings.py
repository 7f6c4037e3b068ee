"""How a dispatcher behaves."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from matrixinfer.bus.configuration import Settings
from matrixinfer.bus.topology import ACK_WAIT_WORK_S, LEASE_TTL_S


class DispatchSettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_DISPATCH_…`) over file (`dispatch`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_DISPATCH_")

    lease_ttl_s: float = Field(default=LEASE_TTL_S, ge=1)
    """How long after its last renewal a dispatcher still counts as alive: most of the time that a takeover takes."""

    renew_every_s: float = Field(default=0.5, gt=0)
    """Time between renewals: a quarter of the time to live, so that three may fail."""

    tick_s: float = Field(default=0.25, gt=0)
    """How often deadlines and silence are looked at and the queue is reported."""

    silent_after_s: float = Field(default=3.0, gt=0)
    """A pod without a load event for so long gets no work, and what it has not started is placed elsewhere."""

    steady_after_s: float = Field(default=10.0, ge=0)
    """A pod that was silent counts as healthy again after so long without another silence."""

    silent_hops: int = Field(default=3, ge=1)
    """Placements of one request that may end in a pod's silence before it waits for a pod that counts as healthy."""

    deaths: int = Field(default=2, ge=1)
    """Agents that may die with a request before it is poison: the one that reaches this number ends it."""

    refused_pause_s: float = Field(default=0.25, ge=0)
    """How long a pod gets nothing after it refused work or its work could not be stored: a brake on fast loops."""

    verify_after_s: float = Field(default=ACK_WAIT_WORK_S + 2.0, gt=0)
    """A pod is asked about work that it has not reported for so long; what it does not know then is placed anew. Longer
    than WORK waits for its acknowledgement: what was lost on the way to the pod has come again by then."""

    dump_timeout_s: float = Field(default=1.0, gt=0)
    """How long a takeover waits for the pods to tell what they run, and any later question for its answer."""

    gateway_every_s: float = Field(default=2.0, gt=0)
    """How often the gateways of queued requests are asked whether they are there."""

    gateway_gone_after_s: float = Field(default=6.0, gt=0)
    """A gateway for which nobody answers for so long over an unbroken connection is gone, and so are its clients."""

    max_in_hand: int = Field(default=40_000, ge=1)
    """Requests of one pool's shard held in this process; the rest waits in the stream, where nobody refuses it. So this
    is twice what the fair queue lets wait (20,000)."""

    max_bytes_in_hand: int = Field(default=512 * 1024 * 1024, ge=1)
    """Their bytes, all prompts together; exceeded by one window of requests at most. Twice what the queue lets wait."""

    pull_window: int = Field(default=1000, ge=1)
    """Requests asked for ahead of their coming: enough to never wait for the server, few against the bound of bytes."""

    remembered: int = Field(default=100_000, ge=1)
    """Settled and cancelled requests remembered for each shard, about 300 bytes each, at most until their deadlines."""

    prefill_ahead_s: float = Field(default=0.1, ge=0)
    """While every pod with room is so far behind with its prompts, requests wait in the fair queue and not at the pods:
    who comes to turn is decided late, and a tenant's backlog is not in front of the others'. Less is fairer, more keeps
    the engines' batches fuller. 0: they go wherever a slot is free."""

    candidates: int = Field(default=32, ge=1)
    """Pods that a scheduler looks at for one request. Of more with room: a quarter that hold most of its prompt, an
    eighth by chance, the rest the least loaded. More cost time, and seldom find a better pod."""

    cache_index_blocks: int = Field(default=8_000_000, ge=4096)
    """Blocks of 256 tokens that the exact index of one pool's shard holds at most, about 20 bytes each. It takes memory
    only for those that engines tell of; what does not fit counts as not cached."""

    decisions_every_s: float = Field(default=1.0, gt=0)
    """How long a decision waits for others before the batch is published."""

    decisions_batch: int = Field(default=256, ge=1)
    """Decisions that make a batch full."""
