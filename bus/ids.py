"""Identities: who is who on the bus, and the ids that make redelivery harmless.

A request id is made by the gateway and never taken from a client. The message id in REQUESTS is `rid:attempt`,
in WORK `rid:attempt:epoch.hop:phase`; redelivery changes none of them, so the stream's deduplication holds.
"""

from __future__ import annotations

import secrets
from typing import NewType

from uuid_utils import uuid7

RequestId = NewType("RequestId", str)
BootId = NewType("BootId", str)
GatewayId = NewType("GatewayId", str)


def new_request_id() -> RequestId:
    """A UUIDv7: unique, and sorted by the time it was made."""
    return RequestId(str(uuid7()))


def new_boot_id() -> BootId:
    """Names one life of one process: a restarted process is somebody else."""
    return BootId(secrets.token_hex(6))


def new_gateway_id() -> GatewayId:
    """Names one life of one gateway worker; frames are addressed to it."""
    return GatewayId("g" + secrets.token_hex(6))


def request_message_id(rid: str, attempt: int) -> str:
    return f"{rid}:{attempt}"


def work_message_id(rid: str, attempt: int, epoch: int, hop: int, phase: str) -> str:
    return f"{rid}:{attempt}:{epoch}.{hop}:{phase}"
