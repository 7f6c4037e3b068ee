"""Makes the server agree with the topology: creates what is missing, mends what differs, reports what it cannot mend.

Runs at start, after every reconnect and when a stream is missed, in every process: the first one back after a server
lost its memory streams declares them for all.
"""

from __future__ import annotations

import asyncio
import logging

from matrixinfer.bus.errors import BusError, Incompatible
from matrixinfer.bus.jetstream.api import SECOND_NS, Api, Json
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.jetstream.refusals import STREAM_EXISTS, STREAM_NOT_FOUND, Refused
from matrixinfer.bus.topology import BUCKETS, REQUIRED_API_LEVEL, STREAMS, Bucket, Stream

logger = logging.getLogger("matrixinfer.bus.jetstream.declare")

MARKER_TTL_S = 60
"""How long a bucket tells that a key is gone: a watch that was away for longer reads the bucket again anyway."""

_HEADERS_BYTES = 4096


def stream_config(spec: Stream, names: Names, replicas: int) -> Json:
    return {
        "name": names.stream(spec.name),
        "subjects": [f"{names.prefix}.{family}" for family in spec.subjects],
        "retention": spec.retention.value,
        "storage": spec.storage.value,
        "discard": "new" if spec.refuse_when_full else "old",
        "discard_new_per_subject": spec.refuse_when_full and spec.per_subject > 0,
        "max_age": int(spec.max_age_s * SECOND_NS),
        "max_bytes": spec.max_bytes,
        "max_msgs": spec.max_messages,
        "max_msgs_per_subject": spec.per_subject or -1,
        "max_msg_size": spec.max_message_bytes,
        "duplicate_window": int(spec.duplicate_window_s * SECOND_NS),
        "num_replicas": replicas,
        "allow_msg_ttl": True,
        "allow_msg_schedules": spec.schedules,
        "allow_direct": spec.direct,
    }


def bucket_config(spec: Bucket, names: Names, replicas: int) -> Json:
    """History 1: with a longer one the server would raise short times to live to the markers'."""
    return {
        "name": names.bucket_stream(spec.name),
        "subjects": [names.bucket_subject(spec.name, ">")],
        "retention": "limits",
        "storage": spec.storage.value,
        "discard": "new",
        "max_bytes": spec.max_bytes,
        "max_msgs": -1,
        "max_msgs_per_subject": 1,
        "max_msg_size": spec.max_value_bytes + _HEADERS_BYTES,
        "num_replicas": replicas,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": MARKER_TTL_S * SECOND_NS,
    }


def wanted(names: Names, replicas: int) -> list[Json]:
    streams = [stream_config(spec, names, replicas) for spec in STREAMS]
    return streams + [bucket_config(spec, names, replicas) for spec in BUCKETS]


def differences(want: Json, found: Json) -> list[str]:
    """What an operator reads. The server leaves out what is false or empty."""
    return [
        f"stream {want['name']}: {field} is {found.get(field)!r}, expected {value!r}"
        for field, value in want.items()
        if (found.get(field) or None) != (value or None)
    ]


def check_level(info: Json) -> None:
    """Raises Incompatible when the server's JetStream is too old for the topology."""
    level = int(info.get("api", {}).get("level", 0))
    if level < REQUIRED_API_LEVEL:
        raise Incompatible(
            f"the NATS server's JetStream has API level {level}, this bus needs {REQUIRED_API_LEVEL}: "
            "upgrade to nats-server 2.12 or later"
        )


async def declare(api: Api, names: Names, replicas: int) -> list[str]:
    """Returns the differences that are left. Raises Unavailable, Denied, Incompatible."""
    check_level(await api.call("INFO"))
    left = await asyncio.gather(*(_declare_one(api, want) for want in wanted(names, replicas)))
    remaining = [line for lines in left for line in lines]
    for line in remaining:
        logger.warning("the server differs from the topology: %s", line)
    return remaining


async def find_drift(api: Api, names: Names, replicas: int) -> list[str]:
    """The differences as they are, without mending."""

    async def look(want: Json) -> list[str]:
        found = await _found(api, str(want["name"]))
        return differences(want, found) if found is not None else [f"stream {want['name']} does not exist"]

    lines = await asyncio.gather(*(look(want) for want in wanted(names, replicas)))
    return [line for some in lines for line in some]


async def _declare_one(api: Api, want: Json) -> list[str]:
    name = str(want["name"])
    found = await _found(api, name)
    if found is None:
        try:
            found = (await api.call(f"STREAM.CREATE.{name}", want))["config"]
        except Refused as error:
            if error.code != STREAM_EXISTS:
                raise
            found = await _found(api, name)  # somebody else was faster, with other settings
    differs = differences(want, found or {})
    if not differs:
        return []
    try:
        mended = (await api.call(f"STREAM.UPDATE.{name}", {**(found or {}), **want}))["config"]
    except BusError as error:
        return [f"{line} ({error})" for line in differs]
    logger.info("mended %s", "; ".join(differs))
    return differences(want, mended)


async def _found(api: Api, name: str) -> Json | None:
    try:
        config: Json = (await api.call(f"STREAM.INFO.{name}"))["config"]
    except Refused as error:
        if error.code != STREAM_NOT_FOUND:
            raise
        return None
    return config
