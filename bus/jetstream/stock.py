"""What lies in the streams, for somebody who looks at an installation from outside: nothing is taken or changed."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from matrixinfer.bus.contracts.codec import decode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.jetstream.api import Api, Json
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.jetstream.refusals import NO_MESSAGE_FOUND, Refused


@dataclass(frozen=True)
class Stock:
    """`requests` maps each subject of REQUESTS to its number of messages, queued and in hand. `newest_letter` is None
    when there is none, or another version wrote it."""

    requests: dict[str, int]
    letters: int
    newest_letter: DeadLetter | None


async def take_stock(api: Api, names: Names) -> Stock:
    """Raises Unavailable, Denied; Refused when a stream is not there."""
    requests = await _subjects(api, names.stream("REQUESTS"), f"{names.prefix}.infer.>")
    dead = names.stream("DEAD")
    letters = int((await api.call(f"STREAM.INFO.{dead}"))["state"]["messages"])
    return Stock(requests, letters, await _newest_letter(api, dead, f"{names.prefix}.dead.>"))


async def _subjects(api: Api, stream: str, subjects: str) -> dict[str, int]:
    """The server tells them in pages."""
    found: dict[str, int] = {}
    while True:
        info = await api.call(f"STREAM.INFO.{stream}", {"subjects_filter": subjects, "offset": len(found)})
        page: dict[str, int] = info["state"].get("subjects") or {}
        found |= page
        if not page or len(found) >= int(info.get("total", 0)):
            return found


async def _newest_letter(api: Api, stream: str, subjects: str) -> DeadLetter | None:
    question: Json = {"last_by_subj": subjects}
    try:
        message = (await api.call(f"STREAM.MSG.GET.{stream}", question))["message"]
        return decode(base64.b64decode(message.get("data") or b""), DeadLetter)
    except Refused as error:
        if error.code != NO_MESSAGE_FOUND:
            raise
        return None
    except Malformed:
        return None
