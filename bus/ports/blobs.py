"""Blobs: bytes too large to travel through everybody's hands. They are stored once, and whoever holds the reference
reads them."""

from __future__ import annotations

import asyncio
from typing import Protocol

from matrixinfer.bus.ports.queue import Stored


class Blobs(Protocol):
    """The stream BODIES. A reference is a subject of its family, `Subjects.body`; all methods raise Malformed for
    another one. Blobs are on file: they outlive a restart of the server."""

    async def put(self, reference: str, data: bytes, *, ttl_s: float) -> asyncio.Future[Stored]:
        """Send now; the future tells that it is stored. Returns once the bytes are buffered.

        The future fails with QueueFull (all blobs together have reached their bound), TooLarge, Unavailable (nothing
        answered in time), Denied; TooLarge may also be raised at once. Putting under the same reference again within
        the stream's window stores nothing and is a success with `duplicate`: so after Unavailable the same put may be
        tried again. After `ttl_s` (at least 1) the blob goes by itself.
        """
        ...

    async def get(self, reference: str) -> bytes | None:
        """The bytes, whole, or None when they are not there.

        With several copies of the stream any of them answers, and one may lag: what was put a moment ago can be
        missing for a moment. Raises Unavailable, Denied.
        """
        ...

    def remove(self, reference: str) -> None:
        """Delete what is stored under the reference, if anything is. Sent, not confirmed: what was not deleted goes by
        its time to live.

        By reference and not by sequence: in a stream that was made anew, the sequence would be another blob's.
        """
        ...
