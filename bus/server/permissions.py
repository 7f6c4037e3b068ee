"""Who may say and hear what: the server's user permissions, generated from the topology's rights.

A part gets its own families of subjects, its own inboxes, and of JetStream's API only what its streams and buckets
need. Everybody may look at and declare the streams of the topology, since everybody's reconnect may be the first.
"""

from __future__ import annotations

from typing import Any

from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.topology import BUCKETS, RIGHTS, STREAMS, Part, Rights, Stream

Json = dict[str, Any]


def permissions(part: Part, prefix: str) -> Json | None:
    """For the server's configuration; None means that the user may do everything."""
    rights = RIGHTS[part]
    if rights.everything:
        return None
    names = Names(prefix)
    publish = [f"{prefix}.{family}" for family in rights.publish]
    publish += ["_INBOX.>", "$JS.API.INFO", *_declaring(names)]
    if part is Part.HANDLERS:
        publish += [f"$JS.API.STREAM.UPDATE.{name}" for name in _streams(names)]
    for stream in rights.pulls:
        publish += _pulling(names.stream(stream))
    publish += [_taking_back(stream, names) for stream in _touched(rights)]
    for stream in rights.fetches:
        publish += _fetching(stream, names)
    for bucket in rights.reads:
        publish += _reading(names.bucket_stream(bucket))
    for bucket in rights.writes:
        publish += [names.bucket_subject(bucket, ">"), f"$JS.API.STREAM.MSG.GET.{names.bucket_stream(bucket)}"]
    subscribe = [f"{prefix}.{family}" for family in rights.subscribe]
    subscribe.append(f"_INBOX.{part.value}.>")
    return {"publish": {"allow": sorted(set(publish))}, "subscribe": {"allow": sorted(set(subscribe))}}


def _streams(names: Names) -> list[str]:
    return [names.stream(spec.name) for spec in STREAMS] + [names.bucket_stream(spec.name) for spec in BUCKETS]


def _declaring(names: Names) -> list[str]:
    return [f"$JS.API.STREAM.{verb}.{name}" for name in _streams(names) for verb in ("INFO", "CREATE")]


def _pulling(stream: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.>",
        f"$JS.API.CONSUMER.LIST.{stream}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        f"$JS.ACK.{stream}.>",
    ]


def _fetching(stream: str, names: Names) -> list[str]:
    families = next(spec.subjects for spec in STREAMS if spec.name == stream)
    return [f"$JS.API.DIRECT.GET.{names.stream(stream)}.{names.prefix}.{family}" for family in families]


def _reading(stream: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.>",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.FC.{stream}.>",
    ]


def _taking_back(stream: Stream, names: Names) -> str:
    """One message by its sequence; blobs, which are read and removed by their reference, by their subject."""
    verb = "PURGE" if stream.direct else "MSG.DELETE"
    return f"$JS.API.STREAM.{verb}.{names.stream(stream.name)}"


def _touched(rights: Rights) -> list[Stream]:
    """Streams that the part fills or empties: it may take a message back."""
    return [spec for spec in STREAMS if spec.name in rights.pulls or set(spec.subjects) & set(rights.publish)]
