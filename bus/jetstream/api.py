"""JetStream's JSON API: questions to the server about streams and consumers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from matrixinfer.bus.errors import NobodyThere, TimedOut, Unavailable
from matrixinfer.bus.jetstream.answers import Answers
from matrixinfer.bus.jetstream.refusals import StreamMissing, refusal

SECOND_NS = 1_000_000_000

Json = dict[str, Any]
"""A document of the server's API, whose shape is the server's."""


class Api:
    def __init__(self, answers: Answers, timeout_s: float, on_miss: Callable[[str], None]) -> None:
        """`on_miss` is called when the server says that a stream is not there."""
        self._answers = answers
        self._timeout_s = timeout_s
        self._on_miss = on_miss

    async def call(self, name: str, body: Json | None = None) -> Json:
        """Ask `$JS.API.<name>`. Raises Unavailable, Denied, and for an error in the answer what `refusal` makes of
        it."""
        data = msgspec.json.encode(body) if body is not None else b""
        try:
            raw = await self._answers.ask(f"$JS.API.{name}", data, timeout_s=self._timeout_s)
        except NobodyThere as error:
            raise Unavailable(f"{name}: no JetStream answers (not there, or still starting)") from error
        except TimedOut as error:
            raise Unavailable(f"{name}: {error}") from error
        answer: Json = msgspec.json.decode(raw)
        refused = answer.get("error")
        if refused:
            code, status = int(refused.get("err_code", 0)), int(refused.get("code", 0))
            error_of_bus = refusal(code, str(refused.get("description", "")), name, status=status)
            if isinstance(error_of_bus, StreamMissing):
                self._on_miss(str(error_of_bus))
            raise error_of_bus
        return answer
