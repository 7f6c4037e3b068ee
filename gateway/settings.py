"""What an operator decides about a gateway."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from matrixinfer.bus.configuration import Settings

MIB = 1024 * 1024


class GatewaySettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_GATEWAY_…`) over file (`gateway`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_GATEWAY_")

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` or `::` for all interfaces."""

    port: int = Field(default=8080, ge=0, le=65535)
    """TCP port of the HTTP door; 0 takes a free one, and the log tells which."""

    reuse_port: bool = False
    """Let several worker processes listen on the same port; the kernel spreads connections over them."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """TCP port where this worker alone answers `/metrics`, `/healthz` and `/readyz`: on a port that several share each
    question reaches another of them. 0 takes a free one, and the log tells which; without, there is none."""

    worker: str = ""
    """Label `worker` on all metrics, so that those of several workers never mix; empty: the worker's own id."""

    backlog: int = Field(default=2048, ge=1)
    """Connections that may wait for being accepted."""

    keep_alive_s: int = Field(default=75, ge=1)
    """How long an idle connection stays open; longer than most clients keep theirs, so that they close first."""

    head_timeout_s: float = Field(default=10.0, gt=0)
    """How long a request's line and headers may take to come; beyond it 408. Looked at once a second."""

    body_timeout_s: float = Field(default=60.0, gt=0)
    """How long nothing of a request's body may come; beyond it 408. Looked at once a second."""

    body_limit_bytes: int = Field(default=4 * MIB, ge=1024, le=7 * MIB)
    """Largest request body; beyond it 413. The bus itself ends at 8 MiB a message."""

    inline_body_bytes: int = Field(default=16 * 1024, ge=0, le=7 * MIB)
    """Largest request body that travels inside its envelope, in bytes; a larger one is stored on the bus once, and only
    the agent that runs the request reads it. From here on a pool's one dispatcher does less; below some
    40 KiB the other parts do more for it. `body_limit_bytes` or more turns it off, while older agents are there."""

    default_deadline_s: float = Field(default=300.0, ge=1)
    """Time that a request has when neither its `x-request-timeout-s` header nor its route says otherwise."""

    max_deadline_s: float = Field(default=600.0, ge=1, le=3600)
    """The longest deadline a client can ask for; requests wait in the queue for an hour at most."""

    max_in_flight: int = Field(default=10_000, ge=1)
    """Requests that this worker holds at once; beyond it 503 with `Retry-After`."""

    client_buffer_bytes: int = Field(default=4 * MIB, ge=64 * 1024)
    """What may wait for one client that reads slowly; beyond it the request is cancelled and its connection dropped."""

    post_patience_s: float = Field(default=5.0, ge=0)
    """How long publishing is tried again while the bus cannot be reached, before the client gets 503."""

    drain_s: float = Field(default=30.0, ge=0)
    """How long a stopping worker lets requests finish before it ends them with an error."""

    lowest_priority: int = Field(default=-4, le=0)
    """The lowest `x-priority` that a client may ask for: such requests let all others go first, but wait no longer than
    dispatch's ageing allows (10 s for each step; below -4 nothing changes)."""

    highest_priority: int = Field(default=0, ge=0)
    """The highest `x-priority` that a client may ask for, 4 being the highest that dispatch knows; beyond it 400. With
    0 clients can step back and never jump the queue: raise it where only those come through who may."""

    tokenize_inline_bytes: int = Field(default=2 * 1024, ge=0)
    """Largest body that is tokenized at once, which holds everything else up for some 0.3 ms a KiB; a larger one goes
    to a thread. Only for pools that name a tokenizer."""

    tokenize_threads: int = Field(default=2, ge=1, le=64)
    """Threads that tokenize large bodies, about 2 MB/s each; they start with the first one."""

    tokenize_waiting_bytes: int = Field(default=4 * MIB, ge=0)
    """What may wait for these threads, in bytes of bodies; beyond it prompts travel in byte blocks rather than wait: of
    4 MiB the last waits for a second."""

    trust_tenant_header: bool = False
    """Take the tenant from `tenant_header`. Only behind a proxy that authenticates and overwrites that header."""

    tenant_header: str = "x-tenant"
    """Name of the header with the tenant, in lower case."""

    nats_door: bool = True
    """Serve requests on the bus too (`mi.api.<tenant>.<endpoint>`)."""
